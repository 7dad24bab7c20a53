"""`mupi transfer evaluate`: what the features of pretrained networks are worth on another data set, by epoch."""

import json

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mupi.checks import fail
from mupi.experiments.training.machine import require_device, set_threads
from mupi.experiments.training.run import Run, read_config
from mupi.experiments.transfer.config import EvaluateConfig
from mupi.experiments.transfer.evaluation import Evaluation
from mupi.experiments.transfer.report import Evaluated, grouped, print_report, results_json
from mupi.figures.transfer import plot_transfer


def evaluate(config: EvaluateConfig) -> list[Evaluated]:
    """Evaluate all runs after all epochs, print the tables, write `results.json` and the figure.

    Returns:
        One a run.

    Raises:
        FileNotFoundError: If there is no such run, or no such epoch was kept.
        ValueError: If results of other settings are in the way, or something cannot be computed.
        KeyboardInterrupt: After Ctrl-C, which loses one result at most.
    """
    how = config.evaluation
    how.check()
    if not config.runs:
        fail("mupi transfer evaluate", "given the directories of runs", "none", "try `mupi transfer evaluate runs/*`")
    set_threads(how.threads)
    require_device(how.device)
    runs = [read_config(path) for path in config.runs]
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            evaluation = Evaluation(how, runs, progress)
            baselines = {name: evaluation.baseline(name) for name in how.baselines}
            evaluated = []
            for run in evaluation.runs:
                scores = {epoch: evaluation.scores(run, epoch) for epoch in evaluation.epochs(run)}
                evaluated.append(Evaluated(run, tuple(Run(run).metrics()), scores))
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            "interrupted; what was computed is kept, and the same command without --overwrite goes on from there"
        ) from error
    title = f"{' and '.join(dict.fromkeys(run.dataset for run in runs))} → {how.folder(evaluation.target)}"
    groups = grouped(evaluated)
    print_report(groups, baselines, how.parts, title, console)
    out = evaluation.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results_json(groups, baselines, how.parts, title), indent=1))
    lines = {name: score.accuracy for name, score in baselines.items()}
    plot_transfer([group.curves(how.parts) for group in groups], lines, title).savefig(out / "accuracy.png", dpi=150)
    console.print(f"wrote {out}", highlight=False, soft_wrap=True)
    return evaluated
