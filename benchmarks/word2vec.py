"""CBOW in batches beside position by position: time, the bare products' time, and accuracy at equal epochs.

`python benchmarks/word2vec.py` measures processor time, one thread; `--accuracy` trains width 256 both ways, and
`--gensim` in batches and by gensim, in turn.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mupi.data import data_directory
from mupi.recipes.word2vec.analogies import load_questions, score_analogies, total
from mupi.recipes.word2vec.cbow import CBOW
from mupi.recipes.word2vec.corpus import Corpus, load_corpus
from mupi.recipes.word2vec.embedding_start import Gaussian, UnitVectors
from mupi.recipes.word2vec.passage import Passage
from mupi.recipes.word2vec.sampling import Sampling
from mupi.recipes.word2vec.text8 import find_text
from mupi.recipes.word2vec.word_vectors import WordVectors

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
    passages: int = 4
    """Passages of 50,000 words that are timed; the least time counts."""
    lr: float = 0.2
    accuracy: bool = False
    """Train width 256 for an epoch both ways, and score analogies."""
    gensim: bool = False
    """Do so in batches and by gensim instead (`pip install 'mupi[gensim]'`)."""
    gensim_lr: float = 0.05
    """gensim's own parametrization has another best rate."""
    seeds: int = 1
    runs_dir: Path = Path("runs")


class ByPosition:
    """SGD position by position, row by row of U and N, as the word2vec program does it: plain NumPy, one thread."""

    def __init__(self, u: np.ndarray):
        self.u = u
        self.n = np.zeros_like(u)

    def train(self, passage: Passage, lr: float, weight_decay: float) -> None:
        """The positions of a passage with B = 1, each with negatives of its own: the same as `CBOW.train`."""
        words = passage.words.numpy()
        for place, (radius, drawn) in enumerate(zip(passage.radius.tolist(), passage.negatives.numpy(), strict=True)):
            context = np.concatenate([words[max(0, place - radius) : place], words[place + 1 : place + radius + 1]])
            if len(context):
                self.step(words[place], context, drawn, lr, weight_decay)

    def step(self, center: int, context: np.ndarray, drawn: np.ndarray, lr: float, weight_decay: float) -> None:
        """One position."""
        rows = np.concatenate([[center], drawn[drawn != center]])
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


def seconds_a_position(ways: dict[str, tuple[Callable[[Passage], object], list[Passage]]]) -> dict[str, float]:
    """The least processor time of a few passages by each way, in turns, so that all meet the same machine."""
    least = dict.fromkeys(ways, float("inf"))
    for turn in range(max(len(passages) for _, passages in ways.values())):
        for name, (train, passages) in ways.items():
            if turn >= len(passages):
                continue
            start = time.process_time()
            train(passages[turn])
            least[name] = min(least[name], (time.process_time() - start) / len(passages[turn].words))
    return least


def bare_products(columns: int, batch_size: int, shared: int) -> Callable[[Passage], None]:
    """The products of the steps, dense and each in one piece, on numbers of no meaning."""
    u = torch.randn(batch_size + 2 * WINDOW, columns)
    h, n = torch.randn(batch_size, columns), torch.randn(shared, columns)
    mean, slope = torch.randn(batch_size, len(u)), torch.randn(batch_size, shared)

    def train(passage: Passage) -> None:
        for _ in range(passage.steps):
            _ = mean @ u, h @ n.T, slope @ n, slope.T @ h, mean.T @ h, torch.linalg.vecdot(h, h)

    return train


def time_widths(config: Config, corpus: Corpus, console: Console) -> None:
    """Print the table of times."""
    kept = float((corpus.vocabulary.counts * corpus.vocabulary.kept_share(1e-4)).sum()) / len(corpus.ids)
    sampling = sampling_of(corpus, config.batch_size, config.shared_negatives)
    # The first passage gives all coordinates at ∞ to words, and its time is left out as the least is taken.
    passages = [sampling.passage(0, number) for number in range(config.passages + 1)]
    single = [first_words(sampling_of(corpus, 1, K).passage(0, number), 500) for number in range(2)]
    v = len(corpus.vocabulary)
    table = Table(
        "width", "µs a position", "words/s", "bare products, µs", "share", "by position, µs", "ratio", "MB stored"
    )  # fmt: skip
    for width in (*config.widths, "∞"):
        columns = v if width == "∞" else int(width)
        net = CBOW(v, UnitVectors() if width == "∞" else Gaussian(columns), negatives=K)
        # The authors carry 2V numbers a word in the limit.
        start = (
            np.eye(v, 2 * v, dtype=np.float32)
            if width == "∞"
            else Gaussian(columns).draw(v, torch.Generator().manual_seed(0), torch.float32).numpy()
        )
        by_position = ByPosition(start)
        seconds = seconds_a_position(
            {
                "ours": (lambda p, net=net: net.train(p, config.lr, 1e-3), passages),
                "bare": (bare_products(columns, config.batch_size, config.shared_negatives), passages),
                "by position": (lambda p, slow=by_position: slow.train(p, config.lr, 1e-3), single),
            }
        )
        ours, bare, slow = seconds["ours"], seconds["bare"], seconds["by position"]
        table.add_row(
            str(width),
            f"{1e6 * ours:.1f}",
            f"{1 / (ours * kept):,.0f}",
            f"{1e6 * bare:.1f}",
            f"{bare / ours:.0%}",
            f"{1e6 * slow:.0f}",
            f"{slow / ours:.1f}",
            f"{2 * v * columns * 4 / 1e6:,.0f}",
        )
        console.print(f"width {width}: {1e6 * ours:.1f} µs, bare {1e6 * bare:.1f} µs", highlight=False)
    console.print(f"V = {v:,}; {kept:.1%} of the words are kept by subsampling; words/s are words of the text")
    console.print(table)


def first_words(passage: Passage, count: int) -> Passage:
    """The beginning of a passage of steps of one position."""
    return replace(
        passage, words=passage.words[:count], radius=passage.radius[:count], negatives=passage.negatives[:count]
    )


def same_result(corpus: Corpus, console: Console) -> None:
    """Print how far both ways are apart after 200 positions, in float64."""
    v = len(corpus.vocabulary)
    net = CBOW(v, Gaussian(32), negatives=K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slow = ByPosition(net.vectors().numpy().copy())
    passage = first_words(sampling_of(corpus, 1, K).passage(0, 0), 200)
    # Without decay, which one way applies after each use of a row and the other after the position.
    net.train(passage, 0.2)
    slow.train(passage, 0.2, 0.0)
    difference = np.abs(net.output_vectors().numpy() - slow.n).max() / np.abs(slow.n).max()
    console.print(f"both ways differ by {difference:.1g} after 200 positions in float64", highlight=False)


def train_an_epoch(train: Callable[[Passage, float, float], object], sampling: Sampling, lr: float, name: str) -> float:
    """Train on the whole text, the rate falling to zero; the seconds of processor time, sampling included."""
    begun = time.process_time()
    for passage in track(range(sampling.passages), description=name, transient=True):
        train(sampling.passage(0, passage), lr * max(1 - passage / sampling.passages, 1e-4), 1e-3)
    return time.process_time() - begun


def tell(name: str, corpus: Corpus, vectors: WordVectors, seconds: float, console: Console) -> None:
    """Score analogies, and print."""
    score = total(score_analogies(vectors, load_questions(data_directory())))
    console.print(
        f"{name}: {score.right} of {score.seen}, {score.accuracy:.2%}, {seconds:.1f} s of processor time, "
        f"{len(corpus.ids) / seconds:,.0f} words/s",
        highlight=False,
    )


def train_in_batches(config: Config, corpus: Corpus, seed: int, console: Console) -> None:
    """Width 256 for one epoch, by `CBOW`."""
    net = CBOW(len(corpus.vocabulary), Gaussian(256), negatives=K, generator=torch.Generator().manual_seed(seed))

    def train(passage: Passage, lr: float, weight_decay: float) -> None:
        net.train(passage, lr, weight_decay)
        net.renormalize()

    sampling = sampling_of(corpus, config.batch_size, config.shared_negatives, seed)
    seconds = train_an_epoch(train, sampling, config.lr, "batches")
    tell(f"seed {seed}, batches", corpus, WordVectors(corpus.vocabulary.words, net.vectors()), seconds, console)


def train_by_position(config: Config, corpus: Corpus, seed: int, console: Console) -> None:
    """The same from the same start, position by position."""
    start = Gaussian(256).draw(len(corpus.vocabulary), torch.Generator().manual_seed(seed), torch.float32)
    slow = ByPosition(start.numpy())
    seconds = train_an_epoch(slow.train, sampling_of(corpus, 1, K, seed), config.lr, "by position")
    vectors = WordVectors(corpus.vocabulary.words, torch.from_numpy(slow.u))
    tell(f"seed {seed}, by position", corpus, vectors, seconds, console)


def train_gensim(config: Config, corpus: Corpus, seed: int, console: Console) -> None:
    """gensim's CBOW at width 256 on the same words, one thread, one epoch."""
    from gensim.models import Word2Vec

    words = [corpus.vocabulary.words[i] for i in corpus.ids.tolist()]
    sentences = [words[i : i + 10_000] for i in range(0, len(words), 10_000)]
    model = Word2Vec(
        vector_size=256, window=WINDOW, negative=K, sample=1e-4, min_count=1, alpha=config.gensim_lr, workers=1,
        seed=seed + 1,
    )  # fmt: skip
    model.build_vocab(sentences)
    begun = time.process_time()
    model.train(sentences, total_examples=len(sentences), epochs=1)
    seconds = time.process_time() - begun
    vectors = WordVectors(tuple(model.wv.index_to_key), torch.from_numpy(model.wv.vectors))
    tell(f"seed {seed}, gensim", corpus, vectors, seconds, console)


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
    if config.gensim or config.accuracy:
        for seed in range(config.seeds):
            train_in_batches(config, corpus, seed, console)
            (train_gensim if config.gensim else train_by_position)(config, corpus, seed, console)
    else:
        same_result(corpus, console)
        time_widths(config, corpus, console)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
