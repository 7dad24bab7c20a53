"""`mupi transfer evaluate`: what the features of pretrained networks are worth on another data set, by epoch."""

from rich.console import Console

from mupi.checks import fail
from mupi.commands.machine import require_device, set_threads
from mupi.commands.train.run import read_config, run_folder
from mupi.figures.names import called
from mupi.progress import progress_display
from mupi.recipes.transfer.config import EvaluateConfig
from mupi.recipes.transfer.parts import CHOSEN_BASELINES
from mupi.recipes.transfer.plots import plot_transfer
from mupi.recipes.transfer.report import Evaluated, grouped, report, results_json
from mupi.recipes.transfer.results_by_epoch import Evaluation
from mupi.reports import Report
from mupi.training.folder_name import folder_name
from mupi.training.lock import held


def evaluate(config: EvaluateConfig) -> list[Evaluated]:
    """Evaluate all runs after all epochs, print the tables, write `results.json` and the figure.

    Returns:
        One a run.

    Raises:
        FileNotFoundError: If there is no such run, or no such epoch was kept.
        ValueError: If results of other settings are in the way, another process writes into the folder of the table,
            or something cannot be computed.
        KeyboardInterrupt: After Ctrl-C, which loses one result at most.
    """
    how = config.evaluation
    how.check()
    if not config.runs:
        fail("mupi transfer evaluate", "given the directories of runs", "none", "try `mupi transfer evaluate runs/*`")
    set_threads(how.threads)
    require_device(how.device)
    folder_name("--name", how.name)
    runs = [read_config(path) for path in config.runs]
    console = Console()
    with progress_display(console) as progress:
        evaluation = Evaluation(how, runs, progress)
        with held(evaluation.out, "choose another --out"):
            return _evaluate(evaluation, console)


def _evaluate(evaluation: Evaluation, console: Console) -> list[Evaluated]:
    """`evaluate` into a folder that is held."""
    how, out = evaluation.how, evaluation.out
    try:
        baselines = {CHOSEN_BASELINES.name(one): evaluation.baseline(one) for one in how.baselines}
        evaluated = []
        for run in evaluation.runs:
            scores = {epoch: evaluation.scores(run, epoch) for epoch in evaluation.epochs(run)}
            evaluated.append(Evaluated(run, tuple(run_folder(run).metrics()), scores))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            "interrupted; what was computed is kept, and the same command without --overwrite goes on from there"
        ) from error
    evaluation.progress.stop()
    title = f"{' and '.join(dict.fromkeys(run.dataset for run in evaluation.runs))} → {how.folder(evaluation.target)}"
    groups = grouped(evaluated)
    page = Report(title, {"runs": ", ".join(run.directory.name for run in evaluation.runs)}, console)
    report(groups, baselines, how.part_names, page)
    page.json(out / "results.json", results_json(groups, baselines, how.part_names, title))
    lines = {called(name): score.accuracy for name, score in baselines.items()}
    page.figure(out / "accuracy.png", plot_transfer([group.curves(how.part_names) for group in groups], lines, title))
    page.write(out)
    return evaluated
