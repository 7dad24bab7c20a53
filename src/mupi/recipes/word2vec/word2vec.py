"""`mupi word2vec`: word vectors at finite widths and in the μ-limit, from the text to the analogies."""

import time
from collections.abc import Callable

import torch
from rich.console import Console

from mupi.commands.machine import require_device, set_threads
from mupi.commands.train.plain_fields import plain_fields
from mupi.data.directory import data_directory
from mupi.kernels.memory import available_memory, require_memory
from mupi.progress import progress_display
from mupi.recipes.word2vec.analogies import Score, Section, load_questions, score_analogies, total
from mupi.recipes.word2vec.cbow import CBOW, state_bytes
from mupi.recipes.word2vec.config import Word2VecConfig
from mupi.recipes.word2vec.corpus import Corpus, load_corpus
from mupi.recipes.word2vec.metrics import Word2VecMetrics, accuracies
from mupi.recipes.word2vec.plots import plot_analogies
from mupi.recipes.word2vec.queries import score_table
from mupi.recipes.word2vec.run import FIGURE, VECTORS, word2vec_folder
from mupi.recipes.word2vec.text8 import NAME as TEXT8
from mupi.recipes.word2vec.text8 import find_text
from mupi.recipes.word2vec.word_training import Progressed, Training, build
from mupi.recipes.word2vec.word_vectors import WordVectors
from mupi.reports import Report
from mupi.training.atomic import replacing
from mupi.training.damaged import understood
from mupi.training.loop import run_epochs
from mupi.training.memory_use import PeakMemory
from mupi.training.progress import epoch_progress
from mupi.training.records import of_fields
from mupi.training.run_folder import RunFolder

MB = 10**6


def word2vec(config: Word2VecConfig) -> list[Word2VecMetrics]:
    """Train as the configuration says; the results are in its ``directory``.

    The numbers depend on the configuration only, not on whether and where the run was interrupted and resumed.

    Returns:
        The metrics of the start and of all epochs.

    Raises:
        ValueError: If the directory holds a run that is neither resumed nor overwritten or files that are no run's,
            another process writes into it, the vectors do not fit into memory, or the configuration asks for what
            cannot be.
        FileNotFoundError: If text or questions are missing.
        FloatingPointError: If the loss is no longer finite; the checkpoint is from when it was.
        KeyboardInterrupt: After Ctrl-C, once the state is saved.
    """
    config.check()
    run = word2vec_folder(config)
    with run.held():
        return _word2vec(config, run)


def _word2vec(config: Word2VecConfig, run: RunFolder[Word2VecMetrics]) -> list[Word2VecMetrics]:
    """`word2vec` in a folder that is held."""
    set_threads(config.threads)
    console = Console()
    if not (config.resume or config.overwrite):
        run.refuse_if_present()
    saved = run.load(mapped=True) if config.resume else None
    require_device(config.device)
    questions = find_questions(config, console)
    corpus = read_corpus(config, console)
    refuse_if_too_large(config, corpus)

    memory = PeakMemory(torch.device(config.device))
    training = build(config, corpus)
    if saved is None:
        run.start()
        run.append(measure(training, corpus, questions, memory)[0])
    else:
        with understood(run.checkpoint_path):
            training.net.load_state_dict(saved["net"])
            training.done = of_fields(Progressed, saved["progress"])
        del saved
    error = config.start.gram_error(corpus.vocabulary.counts * training.sampling.kept_share)
    console.print(
        f"{config.text}: {len(corpus.ids):,} words, vocabulary {len(corpus.vocabulary):,}; width {config.width}, "
        f"{state_bytes(len(corpus.vocabulary), config.start, config.storage) / MB:,.0f} MB\n"
        f"error of the start against the limit {error:.3g}",
        highlight=False,
        soft_wrap=True,
    )
    scores = train(training, run, corpus, questions, memory, console)
    report = Report(f"Word2Vec of width {config.width} on {config.text}", plain_fields(config), console)
    if total(scores).seen:
        report.table(score_table(scores))
    vectors, figure = run.directory / VECTORS, run.directory / FIGURE
    with replacing(vectors) as partial:
        word_vectors(training.net, corpus).save(partial, binary=True)
    report.figure(figure, plot_analogies(accuracies({f"width {config.width}": [run.metrics()]})))
    report.write(run.directory)
    console.print(f"wrote {vectors}", highlight=False)
    return run.metrics()


def find_questions(config: Word2VecConfig, console: Console) -> tuple[Section, ...]:
    """The analogies; of another text than text8, none if there are none to be had, said in a line.

    Raises:
        FileNotFoundError: If text8, whose results are accuracies on them, is to go without.
    """
    try:
        return load_questions(data_directory(config.data_dir))
    except FileNotFoundError as missing:
        if config.text == TEXT8:
            raise
        console.print(f"no analogies are scored: {missing}", highlight=False, markup=False, soft_wrap=True)
        return ()


def train(
    training: Training,
    run: RunFolder[Word2VecMetrics],
    corpus: Corpus,
    questions: tuple[Section, ...],
    memory: PeakMemory,
    console: Console,
) -> tuple[Score, ...]:
    """Train the epochs that are left, with a bar, saving now and then.

    Returns:
        The scores after the last epoch; empty if none was left.

    Raises:
        KeyboardInterrupt: After Ctrl-C, between two passages.
    """
    config, sampling = training.config, training.sampling
    scores: tuple[Score, ...] = ()
    saved_at = time.monotonic()

    def save() -> None:
        nonlocal saved_at
        run.save(training.state_dict())
        saved_at = time.monotonic()

    with epoch_progress(config.epochs, console=console) as progress:

        def take(interrupted: Callable[[], bool]) -> bool:
            done = training.done
            progress.begin(done.epoch + 1, done.passage, sampling.passages)
            while done.passage < sampling.passages:
                if interrupted():
                    return False
                training.train_passage()
                words = sampling.words_before(done.passage)
                status = f"loss {done.loss / max(done.positions, 1):.4f} {words / done.seconds:,.0f} words/s"
                progress.show(1, status)
                if time.monotonic() - saved_at > 60 * config.save_minutes:
                    save()
            return True

        def finish(measured: tuple[Word2VecMetrics, tuple[Score, ...]]) -> None:
            nonlocal scores
            metrics, scores = measured
            run.append(metrics)
            save()
            progress.finish(metrics.epoch, epoch_line(metrics))

        run_epochs(
            lambda: training.done.epoch < config.epochs,
            take,
            measure=lambda: measure(training, corpus, questions, memory),
            turn=training.finish_epoch,
            finish=finish,
            stop=lambda: run.stop(training.state_dict(), training.where),
        )
    return scores


def read_corpus(config: Word2VecConfig, console: Console) -> Corpus:
    """The text, with a bar in MB the first time that it is read."""
    path = find_text(config.text, data_directory(config.data_dir))
    with progress_display(console) as progress:
        task = progress.add_task(f"reading {path.name}", total=path.stat().st_size // MB, status="MB")
        return load_corpus(
            path,
            config.runs_dir / "corpora",
            min_count=config.min_count,
            max_vocabulary=config.max_vocabulary,
            max_words=config.max_words,
            normalise=config.normalise,
            read=lambda size: progress.update(task, completed=size // MB),
        )


def refuse_if_too_large(config: Word2VecConfig, corpus: Corpus) -> None:
    """Refuse what would run out of memory, before anything is computed.

    Raises:
        ValueError: With what is needed and what there is.
    """
    # Beside the matrices: a copy of the vectors, and a row of cosines for each word of the questions.
    vocabulary = len(corpus.vocabulary)
    matrices = state_bytes(vocabulary, config.start, config.storage)
    evaluation = 4 * vocabulary * (config.start.columns(vocabulary) + 2000)
    require_memory(
        "width",
        matrices + evaluation,
        available_memory(torch.device(config.device)),
        "try --storage bfloat16, a smaller --max-vocabulary, or mupi word2vec orthonormal with a --width",
    )


def word_vectors(net: CBOW, corpus: Corpus) -> WordVectors:
    """The input vectors by their words."""
    return WordVectors(corpus.vocabulary.words, net.vectors())


def measure(
    training: Training, corpus: Corpus, questions: tuple[Section, ...], memory: PeakMemory
) -> tuple[Word2VecMetrics, tuple[Score, ...]]:
    """The metrics of an epoch after its last passage, or of the start before the first; with the scores."""
    done, net = training.done, training.net
    peak = memory.growth()
    scores = score_analogies(word_vectors(net, corpus), questions)
    all_sections = total(scores)
    bytes_a_row = net.inputs.padded(net.active) * net.inputs.table.itemsize
    metrics = Word2VecMetrics(
        epoch=done.epoch + (1 if done.positions else 0),
        positions=done.positions,
        words=training.sampling.words_before(done.passage),
        loss=done.loss / done.positions if done.positions else None,
        accuracy=all_sections.accuracy if all_sections.seen else None,
        sections={score.section: (score.right, score.seen) for score in scores},
        seconds=done.seconds,
        cpu_seconds=done.cpu_seconds,
        stored_mb=2 * len(corpus.vocabulary) * bytes_a_row / MB,
        peak_mb=peak / MB,
    )
    return metrics, scores


def epoch_line(m: Word2VecMetrics) -> str:
    """What is printed of an epoch."""
    loss = "none" if m.loss is None else f"{m.loss:.4f}"
    accuracy = "none known" if m.accuracy is None else f"{m.accuracy:.2%}"
    return (
        f"loss {loss}  analogies {accuracy}  "
        f"{m.seconds:.1f} s  {m.words / m.cpu_seconds:,.0f} words/s  {m.stored_mb:,.0f} MB"
    )
