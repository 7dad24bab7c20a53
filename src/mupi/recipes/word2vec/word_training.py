"""Word vectors in training: the state of a run of `mupi word2vec`, and its passage from step to step."""

import time
from dataclasses import dataclass, field

import torch

from mupi.recipes.word2vec.cbow import CBOW
from mupi.recipes.word2vec.config import Word2VecConfig
from mupi.recipes.word2vec.corpus import Corpus
from mupi.recipes.word2vec.sampling import Sampling
from mupi.training.epoch import require_finite

# Of the learning rate at the start, so that the last steps are not for nothing.
SMALLEST_RATE = 1e-4


@dataclass
class Progressed:
    """How far a run is, with sums over the epoch in progress.

    Attributes:
        epoch: How many epochs are finished.
        passage: How many passages of the next one are.
        positions: Positions trained on.
        loss: Sum of their losses.
        seconds: Time taken.
        cpu_seconds: Processor time taken.
    """

    epoch: int = 0
    passage: int = 0
    positions: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass
class Training:
    """Vectors in training.

    Args:
        config: The configuration of the run.
        net: The vectors in training.
        sampling: How the text is sampled.
        done: How far the run is.
    """

    config: Word2VecConfig
    net: CBOW
    sampling: Sampling
    done: Progressed = field(default_factory=Progressed)

    def train_passage(self) -> None:
        """Take the steps of one passage.

        Raises:
            FloatingPointError: If the loss is no longer finite.
        """
        config, done = self.config, self.done
        wall, cpu = time.perf_counter(), time.process_time()
        words, before = len(self.sampling.ids), self.sampling.words_before(done.passage)
        rate = config.lr * max(1 - (done.epoch + before / words) / config.epochs, SMALLEST_RATE)
        passage = self.sampling.passage(done.epoch, done.passage)
        loss = self.net.train(passage, rate, config.weight_decay)
        self.net.renormalize()
        require_finite(loss, f"epoch {done.epoch + 1}, passage {done.passage + 1}")
        done.loss += loss
        done.positions += len(passage.words)
        done.passage += 1
        done.seconds += time.perf_counter() - wall
        done.cpu_seconds += time.process_time() - cpu

    @property
    def where(self) -> str:
        """How far it is, in words."""
        return f"in epoch {self.done.epoch + 1} after {self.done.passage} passages of {self.sampling.passages}"

    def finish_epoch(self) -> None:
        """Go on to the next epoch."""
        self.done = Progressed(epoch=self.done.epoch + 1)

    def state_dict(self) -> dict[str, object]:
        """All that later passages depend on."""
        return {"epoch": self.done.epoch, "progress": vars(self.done).copy(), "net": self.net.state_dict()}


def build(config: Word2VecConfig, corpus: Corpus) -> Training:
    """Vectors and sampling before the first step."""
    net = CBOW(
        len(corpus.vocabulary),
        config.start,
        negatives=config.negatives,
        dtype=config.storage,
        generator=torch.Generator().manual_seed(config.seed),
        device=config.device,
    )
    sampling = Sampling(
        corpus,
        window=config.window,
        subsampling=config.subsampling,
        batch_size=config.batch_size,
        shared_negatives=config.shared_negatives,
        seed=config.seed,
    )
    return Training(config, net, sampling)
