"""How near word vectors of n numbers come to the μ-limit, by their start and storage: accuracy against memory.

`python benchmarks/word2vec_starts.py` trains each for an epoch on the same samples as the limit, one thread, and prints
the error of the start, the root mean square difference of all trained cosines to the limit's, and analogies.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table

from mupi.data import data_directory
from mupi.recipes.word2vec.analogies import load_questions, score_analogies, total
from mupi.recipes.word2vec.cbow import state_bytes
from mupi.recipes.word2vec.config import Word2VecConfig
from mupi.recipes.word2vec.corpus import load_corpus
from mupi.recipes.word2vec.embedding_start import Gaussian, Orthonormal, UnitVectors
from mupi.recipes.word2vec.text8 import find_text
from mupi.recipes.word2vec.word_training import build
from mupi.recipes.word2vec.word_vectors import WordVectors


@dataclass(frozen=True)
class Config:
    """What to measure, and on how much of the text."""

    text: str = "corpus"
    max_words: int = 1_500_000
    max_vocabulary: int = 2_000
    widths: tuple[int, ...] = (64, 256, 1024)
    """In float32; in bfloat16 twice that, for the same memory."""
    lr: float = 0.2
    seeds: int = 2
    runs_dir: Path = Path("runs")


def main(config: Config) -> None:
    """Measure, and print."""
    torch.set_num_threads(1)
    console, questions = Console(), load_questions(data_directory())
    corpus = load_corpus(
        find_text(config.text, data_directory()),
        config.runs_dir / "corpora",
        min_count=5,
        max_vocabulary=config.max_vocabulary,
        max_words=config.max_words,
    )
    table = Table(
        "width", "start", "storage", "seed", "MB", "error of the start", "of the cosines", "analogies", "loss"
    )

    def train(seed: int, **settings) -> tuple[WordVectors, list[str]]:
        run = Word2VecConfig(epochs=1, lr=config.lr, seed=seed, **settings)
        training = build(run, corpus)
        while training.done.passage < training.sampling.passages:
            training.train_passage()
        vectors = WordVectors(corpus.vocabulary.words, training.net.vectors())
        score = total(score_analogies(vectors, questions))
        share = corpus.vocabulary.counts * training.sampling.kept_share
        memory = state_bytes(len(corpus.vocabulary), run.start, run.storage) / 1e6
        row = [
            str(run.width),
            type(run.start).__name__,
            str(run.storage).removeprefix("torch."),
            str(seed),
            f"{memory:.0f}",
            f"{run.start.gram_error(share):.3f}",
        ]
        return vectors, [*row, f"{score.accuracy:.2%}", f"{training.done.loss / training.done.positions:.4f}"]

    for seed in range(config.seeds):
        limit, row = train(seed, start=UnitVectors())
        cosines = limit.directions @ limit.directions.T

        def add(vectors: WordVectors, row: list[str], cosines: torch.Tensor = cosines) -> None:
            error = (vectors.directions @ vectors.directions.T - cosines).square().mean().sqrt()
            table.add_row(*row[:6], f"{error:.4f}", *row[6:])
            console.print(" ".join(row[:4]), f"{error:.4f}", highlight=False)  # a sign of life

        add(limit, row)
        add(*train(seed, start=UnitVectors(), storage=torch.bfloat16))
        for width in config.widths:
            add(*train(seed, start=Gaussian(width)))
            add(*train(seed, start=Orthonormal(width)))
            if 2 * width <= len(corpus.vocabulary):
                add(*train(seed, start=Orthonormal(2 * width), storage=torch.bfloat16))
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
