"""What a parameter reads and feeds, by the kind of the module that owns it."""

from collections.abc import Iterator

from torch import nn

Sizes = tuple[int, int]
"""How many coordinates it sums over, and how many neurons it feeds."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

RECURRENT = (nn.RNNBase, nn.RNNCellBase)

GAINS = (
    nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.PReLU, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
"""Modules whose parameters multiply or shift coordinate by coordinate."""

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def by_kind(module: nn.Module, name: str) -> Sizes | None:
    """Fan-in and fan-out of a parameter of a module of torch's, up to factors that do not grow; None of others.

    Args:
        module: The owner.
        name: The parameter's in it.
    """
    shape = getattr(module, name).shape
    if is_vector(module, name):
        return 1, shape.numel()
    match module:
        case nn.Linear():
            return module.in_features, module.out_features
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() | nn.ConvTranspose1d() | nn.ConvTranspose2d():
            return module.in_channels // module.groups, module.out_channels
        case nn.ConvTranspose3d():
            return module.in_channels // module.groups, module.out_channels
        case nn.Embedding() | nn.EmbeddingBag():
            return 1, module.embedding_dim
        case nn.RNNBase() | nn.RNNCellBase() | nn.MultiheadAttention():
            # The four gates of an LSTM and q, k and v of attention are outputs together.
            return shape[1], shape[0]
    return None


def is_vector(module: nn.Module, name: str) -> bool:
    """Whether it is a bias, gain or shift of a module of torch's."""
    if isinstance(module, GAINS):
        return True
    known = isinstance(module, (nn.Linear, nn.Bilinear, nn.MultiheadAttention, *CONVOLUTIONS, *RECURRENT))
    return known and "bias" in name


def growing_rows(narrow: nn.Module, wide: nn.Module) -> bool:
    """Whether an embedding has more rows in the wide network."""
    return (
        isinstance(narrow, EMBEDDINGS) and isinstance(wide, EMBEDDINGS) and narrow.num_embeddings != wide.num_embeddings
    )


def owners(model: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """For each parameter, by its first name, the modules that have it and what it is called there."""
    first: dict[int, str] = {}
    found: dict[str, list[tuple[nn.Module, str]]] = {}
    for path, name, module, p in _held(model):
        full = first.setdefault(id(p), f"{path}.{name}" if path else name)
        found.setdefault(full, []).append((module, name))
    return found


def _held(model: nn.Module) -> Iterator[tuple[str, str, nn.Module, nn.Parameter]]:
    for path, module in model.named_modules():
        for name, p in module.named_parameters(recurse=False, remove_duplicate=False):
            yield path, name, module, p
