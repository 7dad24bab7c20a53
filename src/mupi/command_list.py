"""The commands of `mupi`: what each does in a line, and where it is. The module is imported when the command is chosen,
so that `mupi --help` and every short command need not wait for all the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        does: What `mupi --help` says of it.
        module: Where its function is.
        config: The name in it of what the command line is read as.
        function: The name in it of what then does it.
    """

    does: str
    module: str
    config: str
    function: str

    def load(self) -> tuple[Any, Callable[[Any], object]]:
        """What the command line is read as, and the function that takes it."""
        module = import_module(self.module)
        return getattr(module, self.config), getattr(module, self.function)


COMMANDS = {
    "train": Command(
        "Train a network on a data set; results are in runs/NAME/.",
        "mupi.commands.train.train",
        "TrainConfig",
        "train",
    ),
    "plot": Command(
        "Plot loss, accuracy, time and memory of saved runs, side by side.",
        "mupi.commands.train.plot",
        "PlotConfig",
        "plot",
    ),
    "export": Command(
        "Write a trained network to a file that PyTorch loads without mupi.",
        "mupi.commands.train.export",
        "ExportConfig",
        "export",
    ),
    "abc": Command(
        "Say what a parametrization does at large width, and what to change.",
        "mupi.commands.abc_verdict",
        "AbcConfig",
        "abc",
    ),
    "coordcheck": Command(
        "Compare how sizes scale with width with the predicted exponents.",
        "mupi.commands.coordcheck",
        "CoordCheckConfig",
        "coordcheck",
    ),
    "program": Command(
        "Explain Tensor Programs line by line, and compare widths with limits.",
        "mupi.commands.tensor_program",
        "ProgramConfig",
        "program",
    ),
}
"""What is done with a network, a parametrization or a program: `mupi NAME`."""

RECIPES = {
    "compare": Command(
        "Train networks and kernels on one data set, and set them side by side.",
        "mupi.recipes.comparison.compare",
        "CompareConfig",
        "compare",
    ),
    "cifar10": Command(
        "Train the π-limit on all of CIFAR-10, and measure what truncation costs.",
        "mupi.recipes.comparison.cifar10_protocol",
        "Cifar10Config",
        "cifar10",
    ),
    "convergence": Command(
        "Measure how finite networks of many widths approach their limit.",
        "mupi.recipes.widths.convergence",
        "ConvergenceConfig",
        "convergence",
    ),
    "lr-transfer": Command(
        "Train networks of several widths at many rates, and see where the best is.",
        "mupi.recipes.widths.lr_transfer",
        "LrTransferConfig",
        "lr_transfer",
    ),
    "mu-limit": Command(
        "Train deep μ-limits, and finite networks beside them, on two classes.",
        "mupi.recipes.mu_limit.beside_networks",
        "MuLimitConfig",
        "mu_limit",
    ),
    "transfer": Command(
        "Pretrain networks on one data set, and use their features on another.",
        "mupi.recipes.transfer.command",
        "TransferConfig",
        "transfer",
    ),
    "omniglot": Command(
        "Classify Omniglot's characters from few examples, as in both papers.",
        "mupi.recipes.omniglot.few_shot",
        "OmniglotConfig",
        "omniglot",
    ),
    "omniglot-plot": Command(
        "Compare saved runs of `mupi omniglot`: table, curves, classes, width.",
        "mupi.recipes.omniglot.plot",
        "OmniglotPlotConfig",
        "omniglot_plot",
    ),
    "word2vec": Command(
        "Train word vectors at a finite width or in the μ-limit.",
        "mupi.recipes.word2vec.word2vec",
        "Word2VecConfig",
        "word2vec",
    ),
    "word2vec-figure": Command(
        "Plot the accuracy of runs of `mupi word2vec`, one line a width.",
        "mupi.recipes.word2vec.figure",
        "Word2VecFigureConfig",
        "word2vec_figure",
    ),
    "analogies": Command(
        "Score word analogies for saved word vectors.",
        "mupi.recipes.word2vec.queries",
        "AnalogiesConfig",
        "analogies",
    ),
    "neighbours": Command(
        "Print the words nearest to a sum of words.",
        "mupi.recipes.word2vec.queries",
        "NeighborsConfig",
        "neighbors",
    ),
}
"""The papers' experiments, their figures and what is asked of their results: `mupi recipe NAME`."""
