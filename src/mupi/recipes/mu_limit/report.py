"""What a run beside the μ-limit says and writes: costs as it goes, table, JSON and figure at its end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

from mupi.recipes.mu_limit.plots import plot_mu_limit
from mupi.recipes.mu_limit.trained_curves import Curve, Curves
from mupi.reports import Report
from mupi.training.atomic import write_text


def write_progress(out: Path, results: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write ``progress.jsonl``: a line for each network that is trained, with its cost."""
    costs = [
        {"network": name, "seconds": float(curves["seconds"]), "peak_mb": float(curves["peak_mb"])}
        for name, curves in results.items()
    ]
    write_text(out / "progress.jsonl", "".join(json.dumps(cost) + "\n" for cost in costs))


def report(out: Path, config: Mapping[str, Any], curves: Curves, console: Console) -> None:
    """Print the table; write ``mu_limit.json``, ``mu_limit.png`` and ``report.html``.

    Args:
        out: The folder to write to.
        config: As JSON has it.
        curves: The curves of all that was trained.
        console: Where the table is printed.
    """
    law = curves.law
    title = f"slope {law.slope:+.3f} ± {law.half_width:.3f}"
    table = Table("width", "gap to the limit", "loss at the end", "s.d.", "s", "MB", title=title)
    costs = {str(n): mean_cost(seeds) for n, seeds in curves.finite.items()}
    costs |= {"∞": mean_cost([curves.limit]), "∞, NTP": mean_cost([curves.ntp])}
    for n, gap in curves.gaps.items():
        mean, deviation = curves.mean_losses(n)[-1], curves.loss_deviations(n)[-1]
        table.add_row(str(n), f"{gap:.4f}", f"{mean:.4f}", f"{deviation:.4f}", *map("{:.1f}".format, costs[str(n)]))
    last, error = float(curves.limit["losses"][-1]), float(curves.limit["loss_errors"][-1])
    spent = map("{:.1f}".format, costs["∞"])
    table.add_row("∞", f"± {curves.limit_error:.4f}", f"{last:.4f} ± {error:.4f}", "", *spent)
    page = Report("Networks of growing width beside their μ-limit", config, console)
    page.table(table)
    summary = {
        "config": config,
        "gaps": {str(n): gap for n, gap in curves.gaps.items()},
        "law": law.to_json(),
        "limit_error": curves.limit_error,
        "losses": curves.limit["losses"].tolist(),
        "loss_errors": curves.limit["loss_errors"].tolist(),
        "mean_losses": {str(n): curves.mean_losses(n).tolist() for n in curves.finite},
        "loss_deviations": {str(n): curves.loss_deviations(n).tolist() for n in curves.finite},
        "ntp_losses": curves.ntp["losses"].tolist(),
        "seconds_and_peak_mb": costs,
        "ranks": curves.limit["ranks"].tolist(),
    }
    page.json(out / "mu_limit.json", summary)
    page.figure(out / "mu_limit.png", plot_mu_limit(curves))
    page.write(out)


def mean_cost(networks: Sequence[Curve]) -> tuple[float, float]:
    """Mean seconds of processor time and peak MB of training one."""
    seconds, peaks = (fmean(float(one[what]) for one in networks) for what in ("seconds", "peak_mb"))
    return seconds, peaks
