"""`mupi transfer both`: pretraining of several models and seeds, and the evaluation of all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mupi.commands.machine import require_device, set_threads
from mupi.commands.naming import differences, named_by
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import narrowed
from mupi.features import Atoms, Hermite
from mupi.recipes.comparison.contestants import NetContestant
from mupi.recipes.transfer.config import (
    PRETRAINED,
    TARGETS,
    BothConfig,
    EvaluateConfig,
    MuNet,
    PiLimit,
    PiLimitExact,
    PiNet,
    Pretrained,
    pretraining_protocol,
)
from mupi.recipes.transfer.evaluate import evaluate
from mupi.recipes.transfer.report import Evaluated


def both(config: BothConfig) -> list[Evaluated]:
    """Pretrain what is not pretrained yet, each network in a process of its own, then `evaluate` all.

    Returns:
        One a network.

    Raises:
        ValueError: If something cannot be computed, or results of other settings are in the way.
        FloatingPointError: If training diverged.
        KeyboardInterrupt: After Ctrl-C, which loses one step or one result at most.
    """
    config.check()
    how = config.evaluation
    set_threads(how.threads)
    require_device(how.device)
    target = how.target or TARGETS[config.dataset]
    own = ("classes", "files", "size", "epochs", "lr")
    options = {f"pretrain_{name}": getattr(config, f"pretrain_{name}") for name in own}
    for name in ("rank", "subspace", "width"):
        options[name] = next((value for m in config.models if (value := getattr(m, name, None))), None)
    changed = named_by(differences(options, {}, ()))
    out = how.out or Path("runs") / f"transfer-{config.dataset}{changed}-{how.folder(target)}"
    runs = []
    for model in config.models:
        word = PRETRAINED.name(model)
        name = word if config.arch == "mlp" else f"{config.arch}-{word}"
        run = replace(pretraining(config, model), runs_dir=out, name=name)
        for seed in range(config.seeds):
            NetContestant(name, run).result(seed, how.overwrite)
            runs.append(out / f"{name}-seed{seed}")
    return evaluate(EvaluateConfig(runs=tuple(runs), evaluation=replace(how, out=out)))


def pretraining(config: BothConfig, model: Pretrained) -> TrainConfig:
    """The protocol of a model, with what is asked for here."""
    word: Any = "pi-limit" if isinstance(model, PiLimitExact) else PRETRAINED.name(model)
    preset, how = pretraining_protocol(word, config.dataset, config.arch), config.evaluation
    epochs = config.pretrain_epochs or preset.epochs
    classes = preset.classes if config.pretrain_classes is None else config.pretrain_classes
    drop = preset.drop_epoch
    if drop is not None and config.pretrain_epochs is not None:
        drop = max(1, round(drop * epochs / preset.epochs))
    network: dict[str, Any] = {}
    match model:
        case PiLimitExact():
            network["features"] = Atoms()
        case PiLimit(subspace=int(subspace)):
            network["features"] = Hermite(2, subspace=subspace)
        case PiNet(width=int(width)) | MuNet(width=int(width)):
            network |= narrowed(preset.network, width)
    if isinstance(model, PiLimit | PiLimitExact | PiNet) and model.rank is not None:
        network["rank"] = model.rank
    return preset.changed(
        classes=None if classes == "all" else classes,
        files=config.pretrain_files,
        train_size=config.pretrain_size,
        data_seed=0,
        epochs=epochs,
        drop_epoch=drop,
        lr=preset.lr if config.pretrain_lr is None else config.pretrain_lr,
        device=how.device,
        threads=how.threads,
        data_dir=how.data_dir,
        keep_epochs=True,
        **network,
    )
