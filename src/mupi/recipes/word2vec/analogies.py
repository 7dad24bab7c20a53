"""Word analogies: is b − a + c near d? Questions, and the share of right answers (Mikolov et al. 2013)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mupi.checks import fail
from mupi.extras import require
from mupi.recipes.word2vec.word_vectors import WordVectors

FILE = "questions-words.txt"
URL = "https://raw.githubusercontent.com/tmikolov/word2vec/master/questions-words.txt"
SHA256 = "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"

QUESTIONS_AT_ONCE = 256


@dataclass(frozen=True)
class Section:
    """Questions of one kind.

    Args:
        name: For example capital-world.
        questions: (a, b, c, d), of which d is asked for; lower case.
    """

    name: str
    questions: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Score:
    """How many questions of a section were answered right.

    Args:
        section: The section's name.
        right: How many answers were right.
        seen: Questions whose four words are all known; only they count.
        asked: How many questions were asked.
    """

    section: str
    right: int
    seen: int
    asked: int

    @property
    def accuracy(self) -> float:
        """``right / seen``; 0 if no question could be answered."""
        return self.right / self.seen if self.seen else 0.0


def load_questions(directory: Path) -> tuple[Section, ...]:
    """The 19,544 questions of the word2vec release: from ``directory``, else from its folder ``text``, else fetched.

    Raises:
        FileNotFoundError: If the file is not there and cannot be fetched.
        ValueError: If a line is no question.
    """
    for path in (directory / FILE, directory / "text" / FILE):
        if path.is_file():
            return read_questions(path)
    require("pooch", f"the download of {FILE}")
    import pooch

    try:
        pooch.retrieve(URL, known_hash=f"sha256:{SHA256}", fname=FILE, path=directory / "text")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"found no `{FILE}` in `{directory}` or its folder `text`, and the download failed ({reason}); fetch {URL} "
            "to there by hand, or name another directory by --data-dir or $MUPI_DATA"
        ) from error
    return read_questions(directory / "text" / FILE)


def read_questions(path: Path) -> tuple[Section, ...]:
    """Read lines ``a b c d``, with a line ``: name`` before each section; case is ignored.

    Raises:
        ValueError: If a line is neither.
    """
    sections: dict[str, list[tuple[str, ...]]] = {}
    name = ""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        fields = line.lower().split()
        if fields[:1] == [":"]:
            name = " ".join(fields[1:])
        elif len(fields) == 4:
            sections.setdefault(name, []).append(tuple(fields))
        elif fields:
            fail(f"{path}:{number}", "`: name` or four words", repr(line))
    return tuple(Section(name, tuple(questions)) for name, questions in sections.items())


def score_analogies(vectors: WordVectors, sections: Sequence[Section]) -> tuple[Score, ...]:
    """3CosAdd: the answer is the word, other than a, b and c, whose direction x̂ has the largest ⟨x̂, b̂ − â + ĉ⟩.

    The few hundred words that questions are made of are multiplied with all directions once; the scores of a question
    are then a sum of three rows. A vector of length zero is never the answer, nor is there one if all scores are tied,
    as between unit vectors.

    Returns:
        The score of each section.
    """
    known = [[question for question in s.questions if all(w in vectors.ids for w in question)] for s in sections]
    words = sorted({vectors.ids[word] for questions in known for question in questions for word in question})
    device = vectors.vectors.device
    used = torch.tensor(words, dtype=torch.int64, device=device)
    # Of all words only the lengths are needed beside the vectors: no copy of a matrix that fills the memory.
    matrix = vectors.vectors.float()
    lengths = matrix.norm(dim=1)
    never = lengths == 0
    lengths.clamp_(min=torch.finfo(torch.float32).tiny)
    cosines = ((matrix[used] / lengths[used, None]) @ matrix.T).div_(lengths)
    row = {word: i for i, word in enumerate(words)}

    scores = []
    for section, questions in zip(sections, known, strict=True):
        numbers = [[vectors.ids[word] for word in q] for q in questions]
        ids = torch.tensor(numbers, dtype=torch.int64, device=device).view(-1, 4)
        rows = torch.tensor([[row[i] for i in q] for q in numbers], dtype=torch.int64, device=device).view(-1, 4)
        right = sum(
            _count_right(i, r, cosines, never)
            for i, r in zip(ids.split(QUESTIONS_AT_ONCE), rows.split(QUESTIONS_AT_ONCE), strict=True)
        )
        scores.append(Score(section.name, right, len(questions), len(section.questions)))
    return tuple(scores)


def total(scores: Sequence[Score]) -> Score:
    """The sum of the sections' scores."""
    return Score("total", sum(s.right for s in scores), sum(s.seen for s in scores), sum(s.asked for s in scores))


def _count_right(
    ids: Int64[Tensor, "k 4"], rows: Int64[Tensor, "k 4"], cosines: Float[Tensor, "used V"], never: Bool[Tensor, " V"]
) -> int:
    """How many of some questions have d as the one word of largest score; words marked ``never`` have none."""
    if len(ids) == 0:
        return 0
    scores = cosines[rows[:, 1]] - cosines[rows[:, 0]] + cosines[rows[:, 2]]
    scores.masked_fill_(never, -torch.inf).scatter_(1, ids[:, :3], -torch.inf)
    best = scores.topk(2, dim=1)
    won = (best.indices[:, 0] == ids[:, 3]) & (best.values[:, 0] > best.values[:, 1])
    return int(won.sum())
