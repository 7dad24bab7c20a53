"""The command line of `mupi train`: the options of the data set, network and features that are asked for, no others."""

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Annotated, Any, cast, get_args, get_type_hints

from mupi.checks import fail
from mupi.commands.help import Option, documented, plain_hint, printed
from mupi.commands.naming import differences, run_directory
from mupi.commands.options import applying, check_options, named, option
from mupi.commands.reading import Directions, read
from mupi.commands.train.architectures import default_config, of_kind, with_features
from mupi.commands.train.config import OF_OTHERS, OF_OWN, OWN, TrainConfig
from mupi.commands.train.networks import (
    FEATURES,
    NAMES,
    ArchName,
    FeatureName,
    NetworkName,
    Projected,
    by_degree,
    plain_network,
)
from mupi.commands.train.presets import PROTOCOLS
from mupi.features import Features, Hermite, RandomFeatures

GROUPS = {
    "data": (
        "dataset", "data", "target", "task", "ignore", "test", "test_share", "image_size", "train_size", "validation",
        "classes", "files", "data_seed", "data_dir", "flip", "shift", "label_smoothing",
    ),
    "network": (
        "model", "network", "arch", "features", "activation", "rank", "width", "degree", "subspace", "depth", "pools",
        "input_scale", "output_scale", "bias_scale", "readout_init", "sigma_w", "sigma_first",
    ),
    "optimizer": ("lr", "batch_size", "lr_first", "lr_last", "lr_bias", "momentum", "weight_decay", "clip"),
    "schedule": ("epochs", "drop_epoch", "drop", "anneal"),
    "run": (
        "name", "resume", "overwrite", "seed", "keep_epochs", "runs_dir", "device", "threads", "precision", "compile",
    ),
}  # fmt: skip
"""All options, as help has them."""

FIRST = {
    "dataset", "train_size", "model", "network", "arch", "features", "activation", "rank", "width", "lr", "epochs",
    "name", "resume",
}  # fmt: skip
"""Those that help begins with."""

CHOICES = {
    "network": (
        NetworkName,
        "`pi` is the π-limit or a finite π-net, by the choice of features; `mup` and `standard` are finite networks in "
        "the maximal update and in the standard parametrization.",
    ),
    "arch": (
        ArchName,
        "The architecture; of cnn, resnet and transformer there are the pi networks, of cnn the mup network too.",
    ),
    "features": (
        FeatureName,
        "The feature map: `atoms` is the exact π-limit, whose memory grows; `hermite` the π-limit to a small error at "
        "constant memory; `random` the finite π-net.",
    ),
}
"""What decides which other options there are."""

OF_FEATURES: dict[type[Features], dict[str, tuple[Any, str]]] = {
    Hermite: {
        "degree": (int, "The highest degree that is kept."),
        "subspace": (
            Directions,
            "How many directions degree 2 and each higher one are kept in; None for all; 2:100,4:20 for 100 and 20 "
            "and nothing of degree 3.",
        ),
    },
    RandomFeatures: {"width": (int, "n, the width of the π-net, at least the rank.")},
}
"""The options of each feature map."""


TOLD = {"dataset", "network", "arch", "features", "rank", "width", "seed"}
"""What every default name tells."""


@dataclass(frozen=True)
class Form:
    """What a command line may say.

    Attributes:
        default: What it says if it is empty.
        extra: Options beside those of `mupi train`.
    """

    default: TrainConfig
    extra: tuple[Option, ...] = ()

    @property
    def options(self) -> list[Option]:
        """All, in the order of `GROUPS`."""
        config, network = self.default, self.default.network
        names = plain_network(network)
        found = [*self.extra]
        for name, (hint, does) in CHOICES.items():
            if name in names:
                found.append(Option(name, hint, names[name], does))
        for owner in (config, network):
            hints, docs = get_type_hints(type(owner), include_extras=True), documented(type(owner))
            for name in (f.name for f in fields(owner) if f.name not in ("network", "features")):
                found.append(Option(name, hints[name], getattr(owner, name), docs[name]))
        if config.features is not None:
            for name, (hint, does) in OF_FEATURES.get(type(config.features), {}).items():
                found.append(Option(name, hint, getattr(config.features, name), does))
        order = [name for group in GROUPS.values() for name in group]
        absent = OF_OTHERS if config.dataset == OWN else OF_OWN
        known = [o for o in found if o.name not in absent and (o.name != "files" or config.dataset == "imagenet32")]
        return sorted(known, key=lambda o: order.index(o.name))

    def read(self, args: Sequence[str], prog: str) -> tuple[TrainConfig, dict[str, Any]]:
        """The configuration, and the values of the extra options.

        Raises:
            ValueError: In one line, if the arguments are none of these options'.
        """
        form = make_dataclass(
            "TrainConfig",
            [(o.name, Annotated[plain_hint(o.hint), *o.marks], field(default=o.default)) for o in self.options],
            frozen=True,
            kw_only=True,
        )
        said = read(form, args, prog)
        check_options(said, args)
        values = {o.name: getattr(said, o.name) for o in self.options}
        extra = {o.name: values.pop(o.name) for o in self.extra}
        values = {name: value for name, value in values.items() if name not in CHOICES}
        if self.default.features is not None:
            own = {name: values.pop(name) for name in OF_FEATURES.get(type(self.default.features), {})}
            values["features"] = replace(cast(Any, self.default.features), **own)
        return self.default.changed(**values), extra


def read_train(
    args: Sequence[str],
    prog: str,
    about: str,
    examples: Sequence[str],
    base: Callable[[Any], TrainConfig] = PROTOCOLS.__getitem__,
    dataset: str = "digits",
    extra: Sequence[Option] = (),
    datasets: Collection[str] = PROTOCOLS,
) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration that a command line asks for, and the values of the extra options.

    Args:
        args: Without the command.
        prog: The command.
        about: What it does.
        examples: How it is used.
        base: The defaults, by the data set.
        dataset: The one of a command line that names none.
        extra: Options beside those of `mupi train`.
        datasets: Those that there are.

    Raises:
        ValueError: In one line, if there is no such option or value.
        SystemExit: With status 0, once help is printed.
    """
    args = spelled(args)
    preset = base(dataset := named(args, "--dataset", dataset, datasets))
    form = Form(chosen(args, replace(preset, dataset=dataset)), tuple(extra))
    if {"-h", "--help", "--help-all"} & set(args):
        shown = applying(form.options, args)
        print(printed(prog, about, shown, GROUPS, None if "--help-all" in args else FIRST, examples))
        raise SystemExit(0)
    args, higher = without_old_spelling(args, form)
    refuse_what_does_not_apply(args, form)
    config, values = form.read(args, prog)
    if higher is not None:
        config = with_higher(config, higher)
    return config if config.name is not None else replace(config, name=default_name(config)), values


def default_name(config: TrainConfig) -> str:
    """What a run is called that was given no name: what it trains, and the options that differ from the defaults."""
    options = differences(config.identity(), default_config(config).identity(), TOLD)
    stem = f"{config.stem}-{config.kind}"
    return run_directory(config.runs_dir, stem, options, f"-seed{config.seed}", resume=config.resume).name


def spelled(args: Sequence[str]) -> list[str]:
    """Arguments as options: `cifar10` first for `--dataset cifar10`, `features:atoms`, `--features.degree 4`.

    A file that is named is the data set `own`.
    """
    args = list(args)
    if args and args[0] in PROTOCOLS:
        args[:1] = ["--dataset", args[0]]
    if any(arg.partition("=")[0] == "--data" for arg in args) and "--dataset" not in args:
        args[:0] = ["--dataset", OWN]
    found = []
    for arg in args:
        if choice := re.fullmatch(rf"({'|'.join(CHOICES)}):([a-z0-9-]+)", arg):
            found += [f"--{choice[1]}", choice[2]]
        else:
            found.append(re.sub(r"^--(network|features)\.(?=[a-z])", "--", arg))
    return found


def chosen(args: Sequence[str], preset: TrainConfig) -> TrainConfig:
    """The defaults of the network and features that are asked for."""
    names = plain_network(preset.network)
    network, arch = (named(args, f"--{n}", names[n], get_args(CHOICES[n][0])) for n in ("network", "arch"))
    config = of_kind(preset, network, arch)
    if config.features is None:
        return config
    return with_features(config, named(args, "--features", plain_network(config.network)["features"], FEATURES))


def refuse_what_does_not_apply(args: Sequence[str], form: Form) -> None:
    """Say of an option of another network or feature map which it belongs to.

    Raises:
        ValueError: If there is one.
    """
    known = {o.name for o in form.options}
    for arg in args:
        name = arg[2:].partition("=")[0].replace("-", "_")
        if arg[:2] != "--" or name in known or name not in NAMES.union(OF_OWN, OF_OTHERS):
            continue
        choices = plain_network(form.default.network) | {"dataset": form.default.dataset}
        beside = " ".join(f"--{n} {choices[n]}" for n in ("dataset", *CHOICES) if n in choices)
        fail(option(name), "left out, as there is none", f"it beside {beside}", "see --help-all for what there is")


def without_old_spelling(args: Sequence[str], form: Form) -> tuple[list[str], int | None]:
    """The arguments without `--subspace-high`, and its value."""
    args = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--subspace-high=") else [arg])]
    if "--subspace-high" not in args or not isinstance(form.default.features, Hermite):
        return list(args), None
    at = args.index("--subspace-high")
    value = args[at + 1] if at + 1 < len(args) else ""
    rest = args[:at] + args[at + 2 :]
    if value == "None":
        return rest, None
    if not value.isdigit() or not int(value):
        fail("--subspace-high", "an integer ≥ 1", repr(value))
    return rest, int(value)


def with_higher(config: TrainConfig, higher: int) -> TrainConfig:
    """The configuration that `--subspace-high` stands for."""
    network = config.network
    assert isinstance(network, Projected) and isinstance(network.features, Hermite)
    degree, second = network.features.degree, network.features.subspace
    if degree < 3 or isinstance(second, Mapping):
        fail("--subspace-high", "left out unless --degree 3 or more", f"it beside --degree {degree}")
    subspace = by_degree(degree, second or network.rank, higher)
    new = ",".join(f"{k}:{size}" for k, size in subspace.items())
    print(f"mupi: --subspace-high {higher} is --subspace {new} now", file=sys.stderr)
    return config.changed(features=replace(network.features, subspace=subspace))
