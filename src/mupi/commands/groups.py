"""The groups in which help shows the options of a command; those of `mupi train` have their own."""

GROUPS: dict[str, tuple[str, ...]] = {
    "arguments": ("demos", "factory", "run", "runs", "vectors", "words"),
    "data": (
        "dataset", "task", "names", "most_rows", "text", "normalise", "max_words", "min_count", "max_vocabulary",
        "subsampling", "target", "classes",
        "images", "points", "grid", "train_size", "validation", "data_seed", "fit_size", "validation_size", "ways",
        "shots", "queries", "data_dir", "data", "shape", "tokens",
    ),
    "what": ("models", "networks", "optimizers", "arch", "parts", "baselines", "epoch", "count"),
    "network": (
        "a", "b", "c", "depth", "activation", "rank", "ranks", "subspace", "width", "widths", "min_width", "max_width",
        "mu_max_width", "base_width", "times", "input_std", "readout_std", "sigma_w", "sigma_b", "bias_scale",
        "storage",
    ),
    "pretraining": ("pretrain_classes", "pretrain_files", "pretrain_size", "pretrain_epochs", "pretrain_lr"),
    "training": (
        "epochs", "steps", "batches", "batch_size", "tasks", "lr", "log2_lr", "rate", "span", "lr_first", "clip",
        "cosine", "momentum", "weight_decay", "inner_steps", "step_size", "window", "negatives", "shared_negatives",
        "short_epochs", "exact_images", "exact_epochs", "optimizer", "rest_lr", "as_it_is",
    ),
    "evaluation": (
        "test_steps", "evaluate_every", "validation_episodes", "test_episodes", "kernel_epochs", "kernel_images",
        "unit_norm", "double", "ridges", "penalties", "rates", "readout_epochs", "readout_batch_size", "samples",
        "replicates", "draws", "folds", "repeats", "tolerance", "level", "mirror",
    ),
    "run": (
        "seed", "seeds", "wide_seeds", "name", "onnx", "out", "map", "runs_dir", "resume", "overwrite", "save_minutes",
        "device", "threads",
    ),
}  # fmt: skip
"""By the group: names of options, as help has them."""

LATER = frozenset({
    "data_dir", "data_seed", "runs_dir", "overwrite", "save_minutes", "device", "threads", "max_words",
    "max_vocabulary", "subsampling", "storage", "fit_size", "validation_size", "validation", "shots", "queries", "ways",
    "input_std", "readout_std", "sigma_w", "sigma_b", "grid", "bias_scale", "lr_first", "clip", "cosine", "inner_steps",
    "step_size", "window", "negatives", "shared_negatives", "momentum", "test_steps", "validation_episodes",
    "test_episodes", "evaluate_every", "double", "ridges", "penalties", "rates", "readout_epochs", "readout_batch_size",
    "unit_norm", "replicates", "tolerance", "target", "baselines", "arch", "pretrain_size", "pretrain_classes",
    "pretrain_files", "pretrain_lr", "short_epochs", "exact_images", "exact_epochs", "kernel_epochs", "kernel_images",
    "weight_decay", "normalise", "batch_size", "classes", "rest_lr",
})  # fmt: skip
"""Of a command that has more than a dozen: those that only its second screen has."""

DOZEN = 12
