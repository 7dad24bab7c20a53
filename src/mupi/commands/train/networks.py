"""The networks of `mupi train` as the values that decide them: each has the options that it takes, and no other."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import torch

from mupi.activations import Activation
from mupi.checks import fail, non_negative, positive_int
from mupi.commands.train.activation_names import activation_name, activation_of
from mupi.features import Atoms, Features, Hermite, RandomFeatures

NetworkName = Literal["pi", "mup", "standard"]
ArchName = Literal["mlp", "cnn", "resnet", "transformer"]
FeatureName = Literal["atoms", "hermite", "random"]


@dataclass(frozen=True, kw_only=True)
class AnyNetwork:
    """What every network has."""

    depth: int
    """L, the number of hidden layers; of cnn the convolutions, of resnet the branches, of transformer the blocks."""
    activation: Activation
    """φ; numbers such as 0,0.25,4 are the weights w_k of one with kernel |b||g|Σ w_k q^k, for which hermite of the same
    degree is exact: `quadratic` is 0,0.25,0.25 and `centred` 0,0.25,1."""
    output_scale: float
    """Multiplier of the readout's output."""
    bias_scale: float
    """Multiplier of all biases; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Projected(AnyNetwork):
    """The π-limit or a finite π-net, by the choice of features."""

    features: Features
    """The feature map: `Atoms` is the exact π-limit, whose memory grows; `Hermite` the π-limit to a small error at
    constant memory; `RandomFeatures` the finite π-net."""
    rank: int
    """r, the rank of each junction."""
    readout_init: float
    """The readout starts with entries of standard deviation readout-init/rank; 0 for a network that starts at 0."""


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Convolutions between which positions are averaged over."""

    pools: tuple[int, ...] | None = None
    """The side of the blocks of positions that φ is averaged over before each of the depth − 1 convolutions; None to
    halve the grid while it can be."""


@dataclass(frozen=True, kw_only=True)
class PiPerceptron(Projected):
    """A perceptron."""

    input_scale: float
    """Multiplier of the first layer's output."""


@dataclass(frozen=True, kw_only=True)
class PiConvolutional(Pooled, Projected):
    """A convolutional network, whose first layer is normalized, so that no multiplier of its output would count."""


@dataclass(frozen=True, kw_only=True)
class PiResidual(Projected):
    """A residual convolutional network."""

    input_scale: float
    """Multiplier of the first layer's output."""


@dataclass(frozen=True, kw_only=True)
class PiTransformer(Projected):
    """A transformer."""


@dataclass(frozen=True, kw_only=True)
class FinitePerceptron(AnyNetwork):
    """A perceptron of finite width, without projection."""

    width: int = 2048
    """n, the width of the network."""
    input_scale: float = 1.0
    """Multiplier of the first layer's output."""
    readout_init: float = 1.0
    """The readout starts with readout-init·sigma-w in place of sigma-w; 0 for a network that starts at 0."""
    sigma_w: float = 2**0.5
    """Initial weights are N(0, sigma-w²/n)."""
    sigma_first: float | None = None
    """Sigma of the first layer; None for sigma-w/√d."""


@dataclass(frozen=True, kw_only=True)
class MuPerceptron(FinitePerceptron):
    """In the maximal update parametrization."""


@dataclass(frozen=True, kw_only=True)
class StandardPerceptron(FinitePerceptron):
    """In the standard parametrization."""


@dataclass(frozen=True, kw_only=True)
class MuConvolutional(Pooled, AnyNetwork):
    """A convolutional network of finite width in the maximal update parametrization."""

    width: int = 256
    """n, the width of the network."""


Network = (
    PiPerceptron
    | PiConvolutional
    | PiResidual
    | PiTransformer
    | MuPerceptron
    | StandardPerceptron
    | MuConvolutional
)  # fmt: skip

KINDS: dict[tuple[NetworkName, ArchName], type[Network]] = {
    ("pi", "mlp"): PiPerceptron,
    ("pi", "cnn"): PiConvolutional,
    ("pi", "resnet"): PiResidual,
    ("pi", "transformer"): PiTransformer,
    ("mup", "mlp"): MuPerceptron,
    ("standard", "mlp"): StandardPerceptron,
    ("mup", "cnn"): MuConvolutional,
}
"""By the names that the command line and files have for them."""

FEATURES: dict[str, type[Features]] = {"atoms": Atoms, "hermite": Hermite, "random": RandomFeatures}

OF_FEATURES: dict[str, dict[str, Any]] = {
    "atoms": {"storage": None},
    "hermite": {"degree": 2, "subspace": None, "renew_every": Hermite.renew_every, "window": Hermite.window},
    "random": {"width": 2048},
}
"""The fields of each feature map, and what they are if nothing else is said."""

OLD = {"subspace_high"}
"""What earlier versions wrote: directions of all degrees above 2."""

N = TypeVar("N", bound=AnyNetwork)


def kind_of(network: NetworkName, arch: ArchName) -> type[Network]:
    """The class of a network.

    Raises:
        ValueError: If there is none.
    """
    if (network, arch) not in KINDS:
        known = ", ".join(a for n, a in KINDS if n == network)
        fail("arch", f"one that there is for network {network} ({known})", arch, "leave --network out")
    return KINDS[network, arch]


def converted(network: AnyNetwork, kind: type[N], /, *otherwise: Any, **changes: Any) -> N:
    """A network of another kind, with the values that both have.

    Args:
        network: Where values come from.
        kind: The class wanted.
        otherwise: Where they come from that ``network`` has not: the first of these that has them.
        changes: Other values.
    """
    found = {}
    for name in (field.name for field in fields(kind)):
        owners = [owner for owner in (network, *otherwise) if hasattr(owner, name)]
        if name in changes or owners:
            found[name] = changes.pop(name) if name in changes else getattr(owners[0], name)
    return kind(**found, **changes)


def width_of(network: AnyNetwork) -> int | None:
    """n of a finite network; None of an infinite one."""
    return getattr(network.features if isinstance(network, Projected) else network, "width", None)


def narrowed(network: AnyNetwork, width: int) -> dict[str, Any]:
    """What to change for a finite network of this width; nothing for an infinite one."""
    if width_of(network) is None:
        return {}
    return {"features": RandomFeatures(width)} if isinstance(network, Projected) else {"width": width}


def check_network(network: AnyNetwork) -> None:
    """Refuse numbers that make no sense, as far as the network's parts do not do so themselves.

    Raises:
        ValueError: With the field's name.
    """
    for field in fields(network):
        value = getattr(network, field.name)
        if field.name in ("rank", "depth", "width"):
            positive_int(field.name, value)
        elif isinstance(value, int | float):
            non_negative(field.name, value)
    pools = network.pools if isinstance(network, Pooled) else None
    if pools is not None and len(pools) != network.depth - 1:
        fail("pools", f"{network.depth - 1} numbers at depth {network.depth}", pools, "give --depth")
    if isinstance(network, Projected) and isinstance(hermite := network.features, Hermite):
        kept = (k for k in range(hermite.degree + 1) if hermite.directions(k, network.rank) != 0)
        if not any(map(network.activation.has_degree, kept)):
            got = f"{hermite.degree}, of which {activation_name(network.activation)} has none"
            fail("degree", "such that a degree of the activation is kept", got, "take a higher one")


def plain_network(network: AnyNetwork) -> dict[str, Any]:
    """A network as files have it: names, and numbers by the names of options."""
    (names,) = (names for names, kind in KINDS.items() if kind is type(network))
    plain = dict[str, Any](zip(("network", "arch"), names, strict=True))
    for field in fields(network):
        match getattr(network, field.name):
            case Features() as features:
                plain |= plain_features(features)
            case Activation() as φ:
                plain["activation"] = activation_name(φ)
            case tuple() as several:  # as a file gives it back
                plain[field.name] = list(several)
            case value:
                plain[field.name] = value
    return plain


def plain_features(features: Features) -> dict[str, Any]:
    """A feature map as files have it; what no option sets is there if it was set."""
    name = next((name for name, kind in FEATURES.items() if kind is type(features)), None)
    if name is None:
        return {"features": repr(features)}  # of a user's own
    plain: dict[str, Any] = {"features": name}
    for field, default in OF_FEATURES[name].items():
        value = getattr(features, field)
        if field in ("degree", "subspace", "width") or value != default:
            plain[field] = str(value) if isinstance(value, torch.dtype) else value
    if isinstance(subspace := plain.get("subspace"), Mapping):
        plain["subspace"] = {str(degree): size for degree, size in subspace.items()}
    return plain


def network_of(plain: Mapping[str, Any]) -> Network:
    """The inverse of `plain_network`, and of what earlier versions wrote, who named all options of all networks.

    Raises:
        KeyError: If a field is missing.
        ValueError: If there is no such network.
    """
    kind = kind_of(plain["network"], plain.get("arch", "mlp"))
    values = dict[str, Any]((field.name, plain[field.name]) for field in fields(kind) if field.name in plain)
    if values.get("pools") is not None:
        values["pools"] = tuple(values["pools"])
    values["activation"] = activation_of(plain["activation"])
    if issubclass(kind, Projected):
        values["features"] = features_of(plain)
    return kind(**values)


def features_of(plain: Mapping[str, Any]) -> Features:
    """The inverse of `plain_features`."""
    name = plain["features"]
    kind = known("features", name, FEATURES)
    values = dict[str, Any]((field, plain[field]) for field in OF_FEATURES[name] if field in plain)
    if "storage" in values:
        values["storage"] = getattr(torch, values["storage"].removeprefix("torch."))
    if isinstance(values.get("subspace"), Mapping):
        values["subspace"] = {int(degree): size for degree, size in values["subspace"].items()}
    if name == "hermite" and (higher := plain.get("subspace_high")) is not None:
        values["subspace"] = by_degree(plain["degree"], plain["subspace"] or plain["rank"], higher)
    return kind(**values)


def by_degree(degree: int, second: int, higher: int) -> dict[int, int]:
    """Directions of degree 2, and of each higher one."""
    return {2: second, **dict.fromkeys(range(3, degree + 1), higher)}


def known(field: str, name: str, values: Mapping[Any, Any]) -> Any:
    """The value of a name.

    Raises:
        ValueError: If it has none.
    """
    if name not in values:
        fail(field, f"one of {', '.join(values)}", repr(name))
    return values[name]


NAMES = {"network", "arch", "features", *OLD}.union(
    *({field.name for field in fields(kind)} for kind in KINDS.values()), *OF_FEATURES.values()
)
"""All that `plain_network` names of some network."""
