"""`mupi neighbours` and `mupi analogies`: asking saved word vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from mupi.checks import fail, positive_int
from mupi.commands.options import DataFolder
from mupi.data.directory import data_directory
from mupi.recipes.word2vec.analogies import Score, load_questions, score_analogies, total
from mupi.recipes.word2vec.run import VECTORS
from mupi.recipes.word2vec.word_vectors import WordVectors


@dataclass(frozen=True)
class NeighborsConfig:
    """Print the words nearest to a sum of words: `mupi neighbours RUN king woman -man`."""

    vectors: Positional[Path]
    """A run of `mupi word2vec`, or a file in word2vec's format: binary if it ends in .bin, else text."""
    words: Positional[tuple[str, ...]]
    """Words that are added; one with a minus before it is subtracted."""
    count: int = 10
    """How many neighbours."""


@dataclass(frozen=True)
class AnalogiesConfig:
    """Score word analogies, by 3CosAdd, for saved word vectors."""

    vectors: Positional[Path]
    """A run of `mupi word2vec`, or a file in word2vec's format: binary if it ends in .bin, else text."""
    data_dir: DataFolder = None
    """Where questions-words.txt is; None for $MUPI_DATA or else the user's cache folder."""


def with_words_apart(args: Sequence[str]) -> list[str]:
    """The command line of `mupi neighbours` with its words, minus and all, after a `--`; of others as it is.

    Of what begins with a minus only options with two, and `-h`, are options.
    """
    if args[:1] != ["neighbours"] or "--" in args:
        return list(args)
    options, words, rest = [args[0]], [], iter(args[1:])
    for argument in rest:
        if argument == "-h" or argument.startswith("--"):
            options += [argument, *([next(rest, "")] if argument == "--count" else [])]
        else:
            words.append(argument)
    return [*options, "--", *words] if words else options


def neighbors(config: NeighborsConfig) -> list[tuple[str, float]]:
    """Print the nearest words and their cosines.

    Returns:
        The same.

    Raises:
        ValueError: If a word is unknown, or none is given.
        FileNotFoundError: If there are no vectors.
    """
    if not config.words:
        fail("neighbours", "given words", "none", "try `mupi neighbours RUN king`")
    positive_int("--count", config.count)
    if any(word in ("", "-") for word in config.words):
        fail("neighbours", "given words", "a minus alone", "write it before its word: king woman -man")
    added = [word for word in config.words if not word.startswith("-")]
    subtracted = [word[1:] for word in config.words if word.startswith("-")]
    nearest = load_vectors(config.vectors).nearest(added, subtracted, config.count)
    table = Table("word", "cosine")
    for word, cosine in nearest:
        table.add_row(word, f"{cosine:.3f}")
    Console().print(table)
    return nearest


def analogies(config: AnalogiesConfig) -> tuple[Score, ...]:
    """Print the share of right answers of each section.

    Returns:
        The sections' scores.

    Raises:
        FileNotFoundError: If there are no vectors or no questions.
    """
    scores = score_analogies(load_vectors(config.vectors), load_questions(data_directory(config.data_dir)))
    Console().print(score_table(scores))
    return scores


def load_vectors(path: Path) -> WordVectors:
    """Word vectors from a run's directory or a file."""
    file = path / VECTORS if path.is_dir() else path
    return WordVectors.load(file, binary=file.suffix == ".bin")


def score_table(scores: tuple[Score, ...]) -> Table:
    """One row a section, and the total."""
    table = Table("analogies", "right", "known", "asked", "accuracy")
    for score in (*scores, total(scores)):
        accuracy = f"{score.accuracy:.2%}" if score.seen else "none known"
        table.add_row(score.section, *map(str, (score.right, score.seen, score.asked)), accuracy)
    return table
