"""Tables of what features are worth: by epoch, beside untrained networks, and what pretraining has gained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.table import Table

from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import Projected, StandardPerceptron, plain_network, width_of
from mupi.features import Atoms, RandomFeatures
from mupi.recipes.transfer.parts import PartName
from mupi.recipes.transfer.plots import TransferCurves
from mupi.recipes.transfer.score import Score
from mupi.reports import Report
from mupi.statistics import Gain, spread
from mupi.training.epoch_metrics import EpochMetrics

TITLES: dict[PartName, str] = {"kernel": "learned kernel", "probe": "linear probe", "readout": "readout by SGD"}


@dataclass(frozen=True)
class Evaluated:
    """One pretrained network.

    Attributes:
        run: Configuration of the pretraining.
        metrics: Metrics of the pretraining, by epoch.
        scores: Scores by epoch and part.
    """

    run: TrainConfig
    metrics: tuple[EpochMetrics, ...]
    scores: Mapping[int, Mapping[PartName, Score]]

    def chosen_epoch(self, part: PartName) -> int:
        """The one after which the validation accuracy was highest, of those after training began."""
        trained = [epoch for epoch in self.scores if epoch > 0] or list(self.scores)
        return max(trained, key=lambda epoch: self.scores[epoch][part].validation_accuracy)

    def chosen(self, part: PartName) -> Score:
        """The score of that epoch."""
        return self.scores[self.chosen_epoch(part)][part]


@dataclass(frozen=True)
class Group:
    """One model over its seeds.

    Attributes:
        label: What to call it.
        members: The runs of the group, one a seed.
    """

    label: str
    members: tuple[Evaluated, ...]

    @property
    def epochs(self) -> list[int]:
        """After which all seeds were evaluated."""
        return sorted(set.intersection(*(set(member.scores) for member in self.members)))

    def accuracies(self, epoch: int, part: PartName) -> list[float]:
        """One a seed."""
        return [member.scores[epoch][part].accuracy for member in self.members]

    def alignments(self, epoch: int) -> list[float]:
        """Of the feature kernel with the labels, one a seed; nothing if the kernel was not evaluated."""
        found = (member.scores[epoch].get("kernel") for member in self.members)
        return [score.alignment for score in found if score is not None and score.alignment is not None]

    def gain(self, part: PartName, over: Score | None = None) -> Gain:
        """Of the epochs chosen on validation images, over the untrained networks or over a baseline."""
        start = [member.scores[0][part].right for member in self.members] if over is None else [over.right]
        return Gain.of([member.chosen(part).right for member in self.members], start)

    def curves(self, parts: Sequence[PartName]) -> TransferCurves:
        """For the figure: by panel, seed and epoch."""
        panels = {
            f"{TITLES[part]}: test accuracy, %": [[100 * a for a in self.accuracies(e, part)] for e in self.epochs]
            for part in parts
        }
        if "kernel" in parts:
            panels["alignment of the kernel with the labels"] = [self.alignments(e) for e in self.epochs]
        return TransferCurves(self.label, self.epochs, panels)


def grouped(evaluated: Sequence[Evaluated]) -> list[Group]:
    """Runs that differ in the seed only together, in the order in which they first appear."""
    groups: dict[str, list[Evaluated]] = {}
    for e in evaluated:
        model = {k: v for k, v in e.run.identity().items() if k != "seed"}
        groups.setdefault(repr(model), []).append(e)
    labels = [label(members[0].run) for members in groups.values()]
    return [
        Group(name if labels.count(name) == 1 else f"{name} ({members[0].run.directory.name})", tuple(members))
        for name, members in zip(labels, groups.values(), strict=True)
    ]


def label(run: TrainConfig) -> str:
    """What a model is called."""
    arch = plain_network(run.network)["arch"]
    return kind(run) if arch == "mlp" else f"{arch}: {kind(run)}"


def kind(run: TrainConfig) -> str:
    """The same, but for its architecture."""
    match run.network:
        case Projected(features=RandomFeatures(width), rank=rank):
            return f"π-net, r = {rank}, n = {width}"
        case Projected(features=features, rank=rank):
            return f"π-limit, r = {rank}" + (", Atoms" if isinstance(features, Atoms) else "")
        case network:
            return f"{'SP net' if isinstance(network, StandardPerceptron) else 'μ-net'}, n = {width_of(network)}"


def report(groups: Sequence[Group], baselines: Mapping[str, Score], parts: Sequence[PartName], page: Report) -> None:
    """Report accuracies by epoch, and gains."""
    page.console.print(page.title, style="bold", highlight=False)
    if baselines:
        page.table(baseline_table(baselines))
    for group in groups:
        page.table(epoch_table(group, parts))
    page.table(gain_table(groups, parts))
    if baselines:
        page.table(margin_table(groups, baselines, parts))


def baseline_table(baselines: Mapping[str, Score]) -> Table:
    """One row a kernel."""
    shown = Table("untrained kernel", "test accuracy, %", "ridge", "alignment", "seconds", title="baselines")
    for name, score in baselines.items():
        alignment = spread([score.alignment or 0.0], 4)
        shown.add_row(name, f"{100 * score.accuracy:.2f}", f"{score.value:g}", alignment, f"{score.seconds:,.1f}")
    return shown


def epoch_table(group: Group, parts: Sequence[PartName]) -> Table:
    """One row an epoch."""
    seconds = [sum(m.seconds for m in member.metrics) for member in group.members]
    peak = [max((m.peak_mb for m in member.metrics), default=0.0) for member in group.members]
    title = f"{group.label}; pretraining {spread(seconds, 0)} s, {spread(peak, 0)} MB"
    accuracies = (f"{TITLES[part].replace(' ', chr(10), 1)}, %" for part in parts)
    shown = Table("epoch", *accuracies, "ridge", "alignment", "seconds", title=title, padding=0)
    for epoch in group.epochs:
        scores = [member.scores[epoch] for member in group.members]
        ridges = dict.fromkeys(f"{s['kernel'].value:g}" for s in scores if "kernel" in s)
        shown.add_row(
            str(epoch),
            *(spread([100 * a for a in group.accuracies(epoch, part)]) for part in parts),
            " ".join(ridges),
            spread(group.alignments(epoch), 4),
            f"{fmean(sum(score.seconds for score in s.values()) for s in scores):,.1f}",
        )
    return shown


def gain_table(groups: Sequence[Group], parts: Sequence[PartName]) -> Table:
    """One row for each model and part."""
    title = "gain of pretraining over the untrained network, in points; epochs chosen on validation images"
    shown = Table("", "untrained, %", "pretrained, %", "gain ± 95 %", "by seed (epoch)", title=title, padding=0)
    for group in groups:
        for part in parts:
            gain, members = group.gain(part), group.members
            shown.add_row(
                f"{group.label}\n{TITLES[part]}",
                spread([100 * member.scores[0][part].accuracy for member in members]),
                spread([100 * member.chosen(part).accuracy for member in members]),
                str(gain),
                "\n".join(
                    f"{100 * g:+.2f} ({member.chosen_epoch(part)})"
                    for g, member in zip(gain.by_seed, members, strict=True)
                ),
            )
    return shown


def margin_table(groups: Sequence[Group], baselines: Mapping[str, Score], parts: Sequence[PartName]) -> Table:
    """The same over the baselines."""
    shown = Table("", *baselines, title="gain over untrained kernels ± 95 %, in points", padding=0)
    for group in groups:
        for part in parts:
            margins = (str(group.gain(part, score)) for score in baselines.values())
            shown.add_row(f"{group.label}\n{TITLES[part]}", *margins)
    return shown


def results_json(
    groups: Sequence[Group], baselines: Mapping[str, Score], parts: Sequence[PartName], title: str
) -> dict[str, Any]:
    """All that the tables show, seed by seed."""

    def as_plain(gain: Gain) -> dict[str, Any]:
        return {**vars(gain), "over_seeds": gain.over_seeds}

    def short(score: Score) -> dict[str, Any]:
        return {name: value for name, value in score.to_json().items() if name != "answers"}

    models = []
    for group in groups:
        members = [
            {
                "run": str(member.run.directory),
                "seed": member.run.seed,
                "pretraining_seconds": sum(m.seconds for m in member.metrics),
                "pretraining_peak_mb": max((m.peak_mb for m in member.metrics), default=0.0),
                "chosen_epoch": {part: member.chosen_epoch(part) for part in parts},
                "epochs": {e: {part: short(s) for part, s in found.items()} for e, found in member.scores.items()},
            }
            for member in group.members
        ]
        gains = {
            part: {"untrained": as_plain(group.gain(part))}
            | {name: as_plain(group.gain(part, score)) for name, score in baselines.items()}
            for part in parts
        }
        models.append({"model": group.label, "gain_over": gains, "runs": members})
    return {"title": title, "baselines": {n: short(s) for n, s in baselines.items()}, "models": models}
