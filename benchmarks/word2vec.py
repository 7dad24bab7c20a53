"""CBOW in batches beside position by position: time, the bare products' time, and accuracy at equal epochs.

`python benchmarks/word2vec.py` measures processor time, one thread; `--accuracy` trains width 256 both ways.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mupi.data import data_directory
from mupi.data.analogies import load_questions, score_analogies, total
from mupi.data.corpus import Corpus, load_corpus
from mupi.data.text8 import find_text
from mupi.data.word_vectors import WordVectors
from mupi.experiments.words.word2vec_sampling import Sampling
from mupi.nets.cbow import CBOW, Positions
from mupi.nets.embedding_start import Gaussian, UnitVectors

K = 25
WINDOW = 8


@dataclass(frozen=True)
class Config:
    """What to measure, and on how much of the text."""

    text: str = "corpus"
    max_words: int = 1_500_000
    max_vocabulary: int = 2_000
    widths: tuple[int, ...] = (64, 256, 1024)
    """Beside the limit."""
    batch_size: int = 64
    shared_negatives: int = 64
    positions: int = 20_000
    """Positions that are timed, after as many to warm up; of the slow ways a tenth."""
    lr: float = 0.2
    accuracy: bool = False
    """Train width 256 for an epoch both ways, and score analogies."""
    gensim: bool = False
    """Do so with gensim instead (`pip install 'mupi[gensim]'`)."""
    gensim_lr: float = 0.05
    """gensim's own parametrization has another best rate."""
    seeds: int = 1
    runs_dir: Path = Path("runs")


class ByPosition:
    """SGD position by position, row by row of U and N, as the word2vec program does it: plain NumPy, one thread."""

    def __init__(self, u: np.ndarray):
        self.u = u
        self.n = np.zeros_like(u)

    def step(self, positions: Positions, lr: float, weight_decay: float) -> None:
        """One position with its own negatives: the same as `CBOW.step` with B = 1 and S = K."""
        words, first, radius = positions.words.numpy(), positions.first, int(positions.radius[0])
        context = np.concatenate([words[max(0, first - radius) : first], words[first + 1 : first + radius + 1]])
        if not len(context):
            return
        centre, drawn = words[first], positions.negatives.numpy()
        rows = np.concatenate([[centre], drawn[drawn != centre]])
        label = np.zeros(len(rows), dtype=self.u.dtype)
        label[0] = 1
        h = self.u[context].mean(0)
        n = self.n[rows]
        slope = 1 / (1 + np.exp(-(n @ h))) - label
        change = (-lr / len(context)) * (slope @ n)
        decay = 1 - lr * weight_decay
        # Row by row, since a word may be there twice.
        for row, s in zip(rows, slope, strict=True):
            self.n[row] = self.n[row] * decay - (lr * s) * h
        for row in context:
            self.u[row] = self.u[row] * decay + change


def sampling_of(corpus: Corpus, batch_size: int, shared_negatives: int, seed: int = 0) -> Sampling:
    """The protocol's sampling."""
    return Sampling(
        corpus,
        window=WINDOW,
        subsampling=1e-4,
        batch_size=batch_size,
        shared_negatives=shared_negatives,
        seed=seed,
    )


def steps_of(corpus: Corpus, batch_size: int, shared: int, positions: int) -> list[Positions]:
    """So many positions from the text's start."""
    found: list[Positions] = []
    sampling = sampling_of(corpus, batch_size, shared)
    for passage in range(sampling.passages):
        for step in sampling.steps(0, passage):
            found.append(step)
            if len(found) * batch_size >= positions:
                return found
    return found


def seconds_a_position(step: Callable[[Positions], object], steps: list[Positions]) -> float:
    """Processor time, after the first half has warmed up."""
    half = len(steps) // 2
    for positions in steps[:half]:
        step(positions)
    start = time.process_time()
    for positions in steps[half:]:
        step(positions)
    return (time.process_time() - start) / sum(len(p.radius) for p in steps[half:])


def bare_products(columns: int, batch_size: int, shared: int) -> Callable[[Positions], None]:
    """The products of a step, dense and each in one piece, on numbers of no meaning."""
    u = torch.randn(batch_size + 2 * WINDOW, columns)
    h, n = torch.randn(batch_size, columns), torch.randn(shared, columns)
    mean, slope = torch.randn(batch_size, len(u)), torch.randn(batch_size, shared)

    def step(positions: Positions) -> None:
        _ = mean @ u, h @ n.T, slope @ n, slope.T @ h, mean.T @ h, torch.linalg.vecdot(h, h)

    return step


def time_widths(config: Config, corpus: Corpus, console: Console) -> None:
    """Print the table of times."""
    kept = float((corpus.vocabulary.counts * corpus.vocabulary.kept_share(1e-4)).sum()) / len(corpus.ids)
    batches = steps_of(corpus, config.batch_size, config.shared_negatives, 2 * config.positions)
    single = steps_of(corpus, 1, K, config.positions // 10)
    v = len(corpus.vocabulary)
    table = Table(
        "width", "µs a position", "words/s", "bare products, µs", "by position, µs", "ratio", "MB of both matrices"
    )
    for width in (*config.widths, "∞"):
        columns = v if width == "∞" else int(width)
        net = CBOW(v, UnitVectors() if width == "∞" else Gaussian(columns), negatives=K)
        ours = seconds_a_position(lambda p, net=net: net.step(p, config.lr, 1e-3), batches)
        bare = seconds_a_position(bare_products(columns, config.batch_size, config.shared_negatives), batches[:100])
        # The authors carry 2V numbers a word in the limit.
        start = (
            np.eye(v, 2 * v, dtype=np.float32)
            if width == "∞"
            else Gaussian(columns).draw(v, torch.Generator().manual_seed(0), torch.float32).numpy()
        )
        by_position = ByPosition(start)
        slow = seconds_a_position(lambda p, net=by_position: net.step(p, config.lr, 1e-3), single)
        table.add_row(
            str(width),
            f"{1e6 * ours:.1f}",
            f"{1 / (ours * kept):,.0f}",
            f"{1e6 * bare:.1f}",
            f"{1e6 * slow:.0f}",
            f"{slow / ours:.1f}",
            f"{2 * v * columns * 4 / 1e6:,.0f}",
        )
        console.print(f"width {width}: {1e6 * ours:.1f} µs, by position {1e6 * slow:.0f} µs", highlight=False)
    console.print(f"V = {v:,}; {kept:.1%} of the words are kept by subsampling; words/s are words of the text")
    console.print(table)


def same_result(corpus: Corpus, console: Console) -> None:
    """Print how far both ways are apart after 200 positions, in float64."""
    v = len(corpus.vocabulary)
    net = CBOW(v, Gaussian(32), negatives=K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slow = ByPosition(net.vectors().numpy().copy())
    # Without decay, which one way applies after each use of a row and the other after the position.
    for positions in steps_of(corpus, 1, K, 200):
        net.step(positions, 0.2)
        slow.step(positions, 0.2, 0.0)
    difference = np.abs(net.output_vectors().numpy() - slow.n).max() / np.abs(slow.n).max()
    console.print(f"both ways differ by {difference:.1g} after 200 positions in float64", highlight=False)


def compare_accuracy(config: Config, corpus: Corpus, console: Console) -> None:
    """Train width 256 for one epoch both ways, from the same start."""
    questions = load_questions(data_directory())
    v = len(corpus.vocabulary)
    for seed in range(config.seeds):
        start = Gaussian(256).draw(v, torch.Generator().manual_seed(seed), torch.float32)
        net = CBOW(v, Gaussian(256), negatives=K, generator=torch.Generator().manual_seed(seed))
        slow = ByPosition(start.numpy())
        ways = {
            "batches": (net.step, sampling_of(corpus, config.batch_size, config.shared_negatives, seed)),
            "by position": (slow.step, sampling_of(corpus, 1, K, seed)),
        }
        for name, (step, sampling) in ways.items():
            begun = time.process_time()
            for passage in track(range(sampling.passages), description=name, console=console, transient=True):
                rate = config.lr * max(1 - passage / sampling.passages, 1e-4)
                for positions in sampling.steps(0, passage):
                    step(positions, rate, 1e-3)
                net.renormalise()
            vectors = net.vectors() if name == "batches" else torch.from_numpy(slow.u)
            score = total(score_analogies(WordVectors(corpus.vocabulary.words, vectors), questions))
            console.print(
                f"seed {seed}, {name}: {score.right} of {score.seen}, {score.accuracy:.2%}, "
                f"{time.process_time() - begun:.0f} s of processor time",
                highlight=False,
            )


def train_gensim(config: Config, corpus: Corpus, console: Console) -> None:
    """gensim's CBOW at width 256 on the same words, one thread, one epoch."""
    from gensim.models import Word2Vec

    words = [corpus.vocabulary.words[i] for i in corpus.ids.tolist()]
    sentences = [words[i : i + 10_000] for i in range(0, len(words), 10_000)]
    questions = load_questions(data_directory())
    for seed in range(config.seeds):
        model = Word2Vec(
            vector_size=256, window=WINDOW, negative=K, sample=1e-4, min_count=1, alpha=config.gensim_lr, workers=1,
            seed=seed + 1,
        )  # fmt: skip
        model.build_vocab(sentences)
        begun = time.process_time()
        model.train(sentences, total_examples=len(sentences), epochs=1)
        seconds = time.process_time() - begun
        vectors = WordVectors(tuple(model.wv.index_to_key), torch.from_numpy(model.wv.vectors))
        score = total(score_analogies(vectors, questions))
        console.print(
            f"seed {seed}, gensim: {score.right} of {score.seen}, {score.accuracy:.2%}, {seconds:.0f} s of processor "
            f"time, {len(words) / seconds:,.0f} words/s",
            highlight=False,
        )


def main(config: Config) -> None:
    """Measure, and print."""
    torch.set_num_threads(1)
    console = Console()
    corpus = load_corpus(
        find_text(config.text, data_directory()),
        config.runs_dir / "corpora",
        min_count=5,
        max_vocabulary=config.max_vocabulary,
        max_words=config.max_words,
    )
    if config.gensim:
        train_gensim(config, corpus, console)
    elif config.accuracy:
        compare_accuracy(config, corpus, console)
    else:
        same_result(corpus, console)
        time_widths(config, corpus, console)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
