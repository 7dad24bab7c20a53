"""`mupi omniglot`: few-shot learning of characters, meta-trained and tested, one run for each seed."""

from collections.abc import Callable
from dataclasses import asdict
from statistics import fmean

import torch
from rich.console import Console
from rich.progress import Progress as Bar

from mupi.commands.machine import require_room, set_threads
from mupi.commands.train.build import independent_generators
from mupi.commands.train.report import by_layer, report_errors
from mupi.commands.train.size import MANY_LAYERS, perceptron_bytes, projected_bytes
from mupi.data import data_directory
from mupi.data.episodes import EpisodeSampler
from mupi.data.omniglot import Characters, Omniglot, load_omniglot
from mupi.progress import progress_display
from mupi.recipes.omniglot import models
from mupi.recipes.omniglot.build import D, build_kernel, build_learner, build_optimizer
from mupi.recipes.omniglot.config import OmniglotConfig
from mupi.recipes.omniglot.few_shot_records import Accuracy, Progress
from mupi.recipes.omniglot.learners import Learner
from mupi.recipes.omniglot.meta_training import MetaTraining, accuracy, half_cosine
from mupi.recipes.omniglot.plots import plot_classes, plot_few_shot_curves, titled
from mupi.recipes.omniglot.run import CLASSES, CURVES, KERNELS, RESULT, few_shot_folder
from mupi.reports import Report
from mupi.statistics import spread
from mupi.training.damaged import understood
from mupi.training.loop import run_epochs
from mupi.training.memory_use import PeakMemory
from mupi.training.records import columns
from mupi.training.run_folder import RunFolder
from mupi.training.sealed import write_sealed

MB = 1e6
SHOWN_CLASSES = 5
VALIDATION_SEED = 2015


def omniglot(config: OmniglotConfig) -> dict[int, Accuracy]:
    """Meta-train and test as the configuration says; the results are in its directories.

    Returns:
        The test accuracy of each seed.

    Raises:
        ValueError: If a directory holds a run that is neither resumed nor overwritten or files that are no run's,
            another process writes into it, or the configuration asks for what cannot be.
        FloatingPointError: If the loss is no longer finite.
        KeyboardInterrupt: After Ctrl-C, once the state is saved.
    """
    config.check()
    set_threads(config.threads)
    refuse_if_too_large(config)
    runs = {seed: few_shot_folder(config, seed) for seed in config.seeds}
    if not (config.resume or config.overwrite):
        for run in runs.values():
            run.refuse_if_present()
    data = load_omniglot(data_directory(config.data_dir))
    console = Console()
    results = {}
    for seed, run in runs.items():
        with run.held():
            if not (config.resume or config.overwrite):
                run.refuse_if_present()
            results[seed] = run_seed(config, seed, run, data, console)
    if len(results) > 1:
        means = [100 * result.mean for result in results.values()]
        tasks = 100 * fmean(result.half_width for result in results.values())
        said = f"{len(means)} seeds: {spread(means)} % (s.d.; the 95 % interval of one seed's tasks is ± {tasks:.2f})"
        console.print(said, highlight=False, soft_wrap=True)
    return results


def refuse_if_too_large(config: OmniglotConfig) -> None:
    """Refuse what would run out of memory, before anything is computed.

    Raises:
        ValueError: With what is needed and what there is.
    """
    tasks = 1
    match model := config.model:
        case models.Projected() | models.DeepMuNet() | models.ShallowMuNet():
            field = "--depth" if model.depth > MANY_LAYERS else None
            if isinstance(model, models.Projected):
                field = field or ("--width" if isinstance(model, models.PiNet) else "--rank")
                needed = projected_bytes(D, model.rank, model.depth, config.ways, model.features, model.phi)
            else:
                field = field or "--width"
                needed = perceptron_bytes(D, model.width, model.depth, config.ways)
            require_room(field, needed)
    if isinstance(model, models.Trained):
        tasks = model.tasks
    images = tasks * config.ways * (config.shots + config.queries)
    require_room("--tasks", 4 * images * D)


def run_seed(config: OmniglotConfig, seed: int, run: RunFolder[Progress], data: Omniglot, console: Console) -> Accuracy:
    """Train and test one seed, in a folder that is held.

    Returns:
        The test accuracy.
    """
    train, validation, test = (sampler(config, part) for part in (data.train, data.validation, data.test))
    for_net, for_tasks, for_test = independent_generators(seed, 3)
    memory = PeakMemory(torch.device("cpu"))
    model = config.model
    learner = build_learner(model, config.ways, for_net)
    x, labels = shown(data.test)
    before = learner.kernel(x).detach()
    saved = run.load() if config.resume and run.present else None
    if saved is None:
        run.start()
    seconds = 0.0
    with progress_display(console) as bar:
        if isinstance(model, models.Trained) and model.batches:
            optimizer = build_optimizer(model, learner)
            schedule = half_cosine(optimizer, model.batches) if model.cosine else None
            state = MetaTraining(learner, optimizer, train, for_tasks, model.tasks, model.inner_steps, schedule)
            if saved is not None:
                with understood(run.checkpoint_path):
                    state.load_state_dict(saved)
            meta_train(model, f"{models.MODELS.name(model)}, seed {seed}", run, state, validation, bar)
            seconds = state.seconds
        elif saved is None:
            run.save({"batch": 0})
        task = bar.add_task("testing", total=2 * config.test_episodes)
        tested, validated = (
            final(config, learner, part, generator, lambda n: bar.update(task, advance=n))
            for part, generator in ((test, for_test), (validation, validation_generator()))
        )
    accuracies = dict(test=asdict(tested), validation=asdict(validated))
    peak = memory.growth()
    # Of `Atoms` it would take long, and they are exact.
    errors = learner.net.error_report(x) if isinstance(model, models.PiLimit) and learner.net else []
    result = accuracies | dict(seconds=seconds, peak_mb=peak / MB, layer_errors=[asdict(e) for e in errors])
    write_sealed(run.directory / RESULT, result, indent=2)
    report = Report(f"Omniglot: {run.directory.name}", config.as_plain() | {"seed": seed}, console)
    report.say(f"{run.directory}: test {tested}, validation classes {validated}")
    report_errors(report, {run.directory.name: by_layer(errors)})
    kernels = {"after meta-training": learner.kernel(x).detach()}
    if run.metrics():
        kernels = {"before meta-training": before} | kernels
        report.figure(run.directory / CURVES, plot_few_shot_curves({titled(config.as_plain()): columns(run.metrics())}))
    if isinstance(model, models.Deep):
        fixed = {"NNGP": models.DeepNNGP(), "NTK": models.DeepNTK()}
        kernels = {name: build_kernel(kernel)(x, x) for name, kernel in fixed.items()} | kernels
    write_sealed(run.directory / KERNELS, {"kernels": kernels, "labels": labels})
    report.figure(run.directory / CLASSES, plot_classes(kernels, labels))
    report.write(run.directory)
    return tested


def meta_train(
    model: models.Trained,
    label: str,
    run: RunFolder[Progress],
    state: MetaTraining,
    validation: EpisodeSampler,
    bar: Bar,
) -> None:
    """Take the remaining steps, with a validation and a checkpoint every so many."""
    batches = model.batches
    task = bar.add_task(label, total=batches, completed=state.batch)

    def take(interrupted: Callable[[], bool]) -> bool:
        while not interrupted():
            state.step()
            bar.update(task, completed=state.batch)
            if state.batch % model.evaluate_every == 0 or state.batch == batches:
                return True
        return False

    def finish(progress: Progress) -> None:
        run.append(progress)
        run.save(state.state_dict())
        status = f"loss {progress.train_loss:.3f} train {progress.train_accuracy:.1%} "
        bar.update(task, status=status + f"validation {progress.validation_accuracy:.1%}")

    run_epochs(
        lambda: state.batch < batches,
        take,
        measure=lambda: measure(model, state, validation),
        turn=state.start_tally,
        finish=finish,
        stop=lambda: run.stop(state.state_dict(), f"after {state.batch} batches"),
    )


def measure(model: models.Trained, state: MetaTraining, validation: EpisodeSampler) -> Progress:
    """The means since the last validation, and a new one."""
    tally = state.tally
    result = accuracy(state.learner, validation, model.validation_episodes, model.test_steps, validation_generator())
    return Progress(state.batch, tally.loss / tally.batches, tally.accuracy / tally.batches, result.mean, state.seconds)


def final(
    config: OmniglotConfig,
    learner: Learner,
    part: EpisodeSampler,
    generator: torch.Generator,
    progress: Callable[[int], None],
) -> Accuracy:
    """Accuracy on the final number of tasks."""
    return accuracy(learner, part, config.test_episodes, config.model.test_steps, generator, progress)


def validation_generator() -> torch.Generator:
    """The same tasks at each validation."""
    return torch.Generator().manual_seed(VALIDATION_SEED)


def sampler(config: OmniglotConfig, part: Characters) -> EpisodeSampler:
    """Tasks of the configured size."""
    return EpisodeSampler(part, config.ways, config.shots, config.queries)


def shown(test: Characters) -> tuple[torch.Tensor, torch.Tensor]:
    """All drawings of five test classes, spread over the alphabets, and their labels."""
    spread = torch.arange(SHOWN_CLASSES) * (len(test) // SHOWN_CLASSES)
    images = test.images[spread].float() / 255
    return images.flatten(0, 1), torch.arange(SHOWN_CLASSES).repeat_interleave(images.shape[1])
