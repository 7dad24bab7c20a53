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
        examples: Two command lines, with which help ends.
    """

    does: str
    module: str
    config: str
    function: str
    examples: tuple[str, str]

    def load(self) -> tuple[Any, Callable[[Any], object]]:
        """What the command line is read as, and the function that takes it."""
        module = import_module(self.module)
        return getattr(module, self.config), getattr(module, self.function)


COMMANDS = {
    "tour": Command(
        "See in a minute what it means that features are learned: table and picture.",
        "mupi.recipes.tour.tour",
        "TourConfig",
        "tour",
        (
            "mupi tour",
            "mupi tour --seed 1 --out runs/another-tour",
        ),
    ),
    "train": Command(
        "Train a network on a data set; results are in runs/NAME/.",
        "mupi.commands.train.train",
        "TrainConfig",
        "train",
        (
            "mupi train --features atoms --rank 32 --epochs 3",
            "mupi train --data table.csv --target label",
        ),
    ),
    "predict": Command(
        "Write what a trained network says of new rows or images.",
        "mupi.commands.train.predict",
        "PredictConfig",
        "predict",
        (
            "mupi predict runs/a new.csv",
            "mupi predict runs/a images --out predictions.csv",
        ),
    ),
    "plot": Command(
        "Plot loss, accuracy, time and memory of saved runs, side by side.",
        "mupi.commands.train.plot",
        "PlotConfig",
        "plot",
        (
            "mupi plot runs/*",
            "mupi plot runs/a runs/b --out figures",
        ),
    ),
    "export": Command(
        "Write a trained network to a file that PyTorch loads without mupi.",
        "mupi.commands.train.export",
        "ExportConfig",
        "export",
        (
            "mupi export runs/a",
            "mupi export runs/a --width 2048 --out net.pt2",
        ),
    ),
    "abc": Command(
        "Say what a parametrization does at large width, and what to change.",
        "mupi.commands.abc_verdict",
        "AbcConfig",
        "abc",
        (
            "mupi abc mup --depth 3",
            "mupi abc by-hand --a 0 1/2 --b 0 0 --map map.png",
        ),
    ),
    "coordcheck": Command(
        "Compare how sizes scale with width with the predicted exponents.",
        "mupi.commands.coordcheck",
        "CoordCheckConfig",
        "coordcheck",
        (
            "mupi coordcheck mup standard --max-width 512",
            "mupi coordcheck by-hand --a 0 1/2 --b 0 0 --activation erf",
        ),
    ),
    "check": Command(
        "Check a module of your own in μP against what its graph predicts.",
        "mupi.commands.check",
        "CheckConfig",
        "check_module",
        (
            "mupi check model.py:make_model --shape 3 8 8 --base-width 16",
            "mupi check model.py:make_model --shape 3 8 8 --optimizer SGD --lr 0.1",
        ),
    ),
    "program": Command(
        "Explain Tensor Programs line by line, and compare widths with limits.",
        "mupi.commands.tensor_program",
        "ProgramConfig",
        "program",
        (
            "mupi program dependence",
            "mupi program all --widths 64 128 256",
        ),
    ),
}
"""What is done with a network, a parametrization or a program: `mupi NAME`."""

RECIPES = {
    "compare": Command(
        "Train networks and kernels on one data set, and set them side by side.",
        "mupi.recipes.comparison.compare",
        "CompareConfig",
        "compare",
        (
            "mupi recipe compare --models ntk mu-net pi-limit",
            "mupi recipe compare --train-size 500 --seeds 1 --epochs 2",
        ),
    ),
    "tables": Command(
        "Compare classifiers on 43 tables: infinite width with and without features, and what else is used.",
        "mupi.recipes.tables.tables",
        "TablesConfig",
        "tables",
        (
            "mupi recipe tables --names iris wine --models pi-limit ntk forest",
            "mupi recipe tables --most-rows 1000 --repeats 1",
        ),
    ),
    "cifar10": Command(
        "Train the π-limit on all of CIFAR-10, and measure what truncation costs.",
        "mupi.recipes.comparison.cifar10_protocol",
        "Cifar10Config",
        "cifar10",
        (
            "mupi recipe cifar10 --parts speed --threads 1",
            "mupi recipe cifar10 --parts relu quadratic --seeds 1 --epochs 10",
        ),
    ),
    "convergence": Command(
        "Measure how finite networks of many widths approach their limit.",
        "mupi.recipes.widths.convergence",
        "ConvergenceConfig",
        "convergence",
        (
            "mupi recipe convergence --ranks 2 16",
            "mupi recipe convergence --max-width 1024 --mu-max-width 512 --seeds 2",
        ),
    ),
    "ensemble": Command(
        "Train wide networks from many starts, inside the bands that theory predicts.",
        "mupi.recipes.widths.ensemble",
        "EnsembleConfig",
        "ensemble",
        (
            "mupi recipe ensemble --max-width 1024",
            "mupi recipe ensemble --depth 2 --max-width 512 --momentum 0.9",
        ),
    ),
    "lr-transfer": Command(
        "Train networks of several widths at many rates, and see where the best is.",
        "mupi.recipes.widths.lr_transfer",
        "LrTransferConfig",
        "lr_transfer",
        (
            "mupi recipe lr-transfer --widths 64 256",
            "mupi recipe lr-transfer mup --depth 3 --log2-lr -6 2",
        ),
    ),
    "rate-transfer": Command(
        "Tune rates of ordinary networks at width n, and move them to 16 n.",
        "mupi.recipes.any_module.rate_transfer",
        "RateTransferConfig",
        "rate_transfer",
        (
            "mupi recipe rate-transfer --networks mlp --optimizers sgd adamw",
            "mupi recipe rate-transfer --networks gpt --width 32 --times 4 --ways mup",
        ),
    ),
    "forecast": Command(
        "Forecast loss curves of wide networks from narrow ones; hold them against.",
        "mupi.recipes.any_module.forecast",
        "ForecastConfig",
        "forecast_recipe",
        (
            "mupi recipe forecast --tasks mlp-digits vit-digits",
            "mupi recipe forecast --seeds 8 --steps 400",
        ),
    ),
    "mu-limit": Command(
        "Train deep μ-limits, and finite networks beside them, on two classes.",
        "mupi.recipes.mu_limit.beside_networks",
        "MuLimitConfig",
        "mu_limit",
        (
            "mupi recipe mu-limit --images 16 --seeds 2",
            "mupi recipe mu-limit --depth 1 --activation erf --out runs/erf",
        ),
    ),
    "feature-kernels": Command(
        "Feature kernels in training, in the limit and at finite widths: a GIF.",
        "mupi.recipes.mu_limit.feature_kernels",
        "FeatureKernelsConfig",
        "feature_kernels",
        (
            "mupi recipe feature-kernels --images 16 --widths 64 256",
            "mupi recipe feature-kernels --activation erf --steps 30",
        ),
    ),
    "sample-complexity": Command(
        "Where features win: accuracy by number of samples, kernels beside networks.",
        "mupi.recipes.sample_complexity.sample_complexity",
        "SampleComplexityConfig",
        "sample_complexity",
        (
            "mupi recipe sample-complexity --names signs --most-rows 1000",
            "mupi recipe sample-complexity --models ntk pi-limit --seeds 1",
        ),
    ),
    "transfer": Command(
        "Pretrain networks on one data set, and use their features on another.",
        "mupi.recipes.transfer.command",
        "TransferConfig",
        "transfer",
        (
            "mupi recipe transfer pretrain --dataset digits --epochs 3",
            "mupi recipe transfer both --dataset digits --seeds 1 --parts kernel",
        ),
    ),
    "omniglot": Command(
        "Classify Omniglot's characters from few examples, as in both papers.",
        "mupi.recipes.omniglot.few_shot",
        "OmniglotConfig",
        "omniglot",
        (
            "mupi recipe omniglot --batches 1000",
            "mupi recipe omniglot tp4 mu-net --width 512",
        ),
    ),
    "omniglot-plot": Command(
        "Compare saved runs of `mupi omniglot`: table, curves, classes, width.",
        "mupi.recipes.omniglot.plot",
        "OmniglotPlotConfig",
        "omniglot_plot",
        (
            "mupi recipe omniglot-plot runs/omniglot-*",
            "mupi recipe omniglot-plot runs/a-seed0 --out figures",
        ),
    ),
    "word2vec": Command(
        "Train word vectors at a finite width or in the μ-limit.",
        "mupi.recipes.word2vec.word2vec",
        "Word2VecConfig",
        "word2vec",
        (
            "mupi recipe word2vec gaussian --width 64 --epochs 3",
            "mupi recipe word2vec --text my.txt --min-count 2",
        ),
    ),
    "word2vec-figure": Command(
        "Plot the accuracy of runs of `mupi word2vec`, one line a width.",
        "mupi.recipes.word2vec.figure",
        "Word2VecFigureConfig",
        "word2vec_figure",
        (
            "mupi recipe word2vec-figure runs/word2vec-*",
            "mupi recipe word2vec-figure runs/a --out accuracy.png",
        ),
    ),
    "analogies": Command(
        "Score word analogies for saved word vectors.",
        "mupi.recipes.word2vec.queries",
        "AnalogiesConfig",
        "analogies",
        (
            "mupi recipe analogies runs/a",
            "mupi recipe analogies vectors.bin --data-dir .",
        ),
    ),
    "neighbours": Command(
        "Print the words nearest to a sum of words.",
        "mupi.recipes.word2vec.queries",
        "NeighborsConfig",
        "neighbors",
        (
            "mupi recipe neighbours runs/a king",
            "mupi recipe neighbours runs/a king -man woman",
        ),
    ),
}
"""The papers' experiments, their figures and what is asked of their results: `mupi recipe NAME`."""
