"""Runs that are killed at a file event, read from damaged files, or started twice at once.

`python -m pytest -m attack tests/attacks/test_runs.py` tells each kind's outcomes.
"""

import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from command_server import Commands, Outcome

from omniglot_archives import write_archives

Record = Callable[[str, str, str], None]

TRAIN = shlex.split("train --name x --epochs 2 --rank 4 --batch-size 20")
HERMITE = TRAIN + shlex.split("--train-size 60 --subspace 3 --keep-epochs")
ATOMS = TRAIN + shlex.split("--train-size 150 --features atoms --momentum .5")
WORD2VEC = shlex.split(
    "word2vec gaussian --width 6 --name x --epochs 2 --min-count 1 --subsampling 0 --lr .3 --batch-size 10 "
    "--shared-negatives 8 --negatives 5 --data-dir data"
)
MU_LIMIT = shlex.split(
    "mu-limit --out runs/x --images 4 --steps 2 --samples 600 --replicates 2 --widths 8 16 --seeds 1"
)
OMNIGLOT = shlex.split(
    "omniglot --name x --batches 4 --tasks 2 --rank 5 --subspace 3 --ways 3 --evaluate-every 2 --lr .5 "
    "--validation-episodes 5 --test-episodes 10 --data-dir data"
)
EVALUATED = shlex.split("--train-size 40 --parts kernel probe --baselines ntk --penalties .001")
TRANSFER = EVALUATED + shlex.split(
    "--models pi-limit --seeds 1 --dataset digits --pretrain-size 40 --pretrain-epochs 1"
)
TRANSFER = shlex.split("transfer both --rank 4 --subspace 3 --out runs/x") + TRANSFER
COMPARE = shlex.split("compare --name x --models nngp mu-net pi-limit --seeds 1 --train-size 40 --epochs 1 --width 8")
EVERY_EVENT = bool(os.environ.get("MUPI_EVERY_EVENT"))
"""Whether a command is killed at every one of its events, in place of the first and the last of each kind."""

COMMANDS = {
    "train, Hermite": HERMITE,
    "train, Atoms": ATOMS,
    "word2vec": WORD2VEC,
    "mu-limit": MU_LIMIT,
    "omniglot": OMNIGLOT,
    "transfer": TRANSFER,
    "compare": COMPARE,
}


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    started = Commands()
    yield started
    started.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text, questions about it, and small archives of characters."""
    folder = tmp_path_factory.mktemp("data")
    words = [f"word{i}" for i in range(20)]
    (folder / "text8").write_text(" ".join(random.Random(0).choices(words, weights=range(20, 0, -1), k=280)))
    (folder / "questions-words.txt").write_text(": some\nword0 word1 word2 word3\nword4 word5 word6 other\n")
    with pytest.MonkeyPatch.context() as patch:
        write_archives(folder, patch)
    return folder


class Place:
    """A working folder, and what an uninterrupted command leaves in it."""

    def __init__(self, root: Path, data: Path, commands: Commands):
        self.root, self.data, self.commands = root, data, commands
        self.number = 0
        self.whole: dict[tuple[str, ...], dict[str, bytes]] = {}

    def new(self) -> Path:
        self.number += 1
        folder = self.root / str(self.number)
        folder.mkdir()
        (folder / "data").symlink_to(self.data)
        return folder

    def run(self, cwd: Path, args: list[str], **more) -> Outcome:
        return self.commands.run(cwd, args, **more)

    def expected(self, args: list[str]) -> dict[str, bytes]:
        if (key := tuple(args)) not in self.whole:
            folder = self.new()
            assert (outcome := self.run(folder, args))["status"] == 0, outcome["err"]
            self.whole[key] = files(folder)
        return self.whole[key]

    def finished(self, args: list[str]) -> Path:
        """A folder in which the command has ended."""
        folder = self.new()
        for name, contents in self.expected(args).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(contents)
        return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, data: Path, commands: Commands) -> Place:
    return Place(tmp_path_factory.mktemp("runs"), data, commands)


def files(folder: Path) -> dict[str, bytes]:
    """What a command has written, but for what begins with a dot."""
    found = {str(p.relative_to(folder)): p for p in sorted((folder / "runs").rglob("*")) if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if not p.name.startswith(".")}


def matching(found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Whether two runs have left the same, bit by bit; tensors in an archive that may name its strings otherwise."""
    return found.keys() == expected.keys() and all(
        data == expected[name] or (name.endswith(".pt") and equal(data, expected[name])) for name, data in found.items()
    )


def one_line(outcome: Outcome) -> bool:
    """Whether a command said why it did not do as it was told."""
    err = outcome["err"].strip()
    return outcome["status"] == 2 and err.startswith("mupi: ") and "\n" not in err


def judged(outcome: Outcome, right: bool) -> str:
    """What an attack on a command came to."""
    if outcome["status"] < 0:
        return "crash"
    if "Traceback" in outcome["err"]:
        return "traceback"
    if outcome["status"] == 0:
        return "right" if right else "silent"
    return "refused" if one_line(outcome) else "traceback"


# Kills


def recovered(place: Place, folder: Path, args: list[str]) -> str:
    """What running again comes to: as it was, or as its message says."""
    outcome = place.run(folder, args)
    if outcome["status"] == 2 and "--resume" in outcome["err"]:
        outcome = place.run(folder, [*args, "--resume"])
    return "lost" if outcome["status"] == 2 else judged(outcome, matching(files(folder), place.expected(args)))


def chosen(events: list[list[str]]) -> list[tuple[int, int | None]]:
    """The first and the last event of each kind, or every one; a file that is written also at bytes 0 and 100."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for i, (event, name) in enumerate(events):
        kinds.setdefault((event, re.sub(r"\d+", "#", name)), []).append(i)
    cases: list[tuple[int, int | None]] = []
    for (event, _), found in kinds.items():
        for i in found if EVERY_EVENT else sorted({found[0], found[-1]}):
            cases.append((i, None))
            if event == "open":
                cases += [(i, 0), (i, 100)]
    return sorted(cases, key=str)


@pytest.mark.parametrize("command", COMMANDS)
def test_kills(command: str, place: Place, record: Record):
    args = COMMANDS[command]
    listing = place.run(place.new(), args)
    assert listing["status"] == 0, listing["err"]
    for i, size in chosen(listing["events"]):
        folder = place.new()
        outcome = place.run(folder, args, kill=i, size=size)
        if outcome["status"] == 0:  # a file of fewer bytes
            continue
        event, name = listing["events"][i]
        case = f"{event} {name}" + ("" if size is None else f" after {size} bytes")
        record(f"killed: {command}", case, recovered(place, folder, args))
        shutil.rmtree(folder)


# Damage


def json_damage(text: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Ways to damage a file of JSON, or of lines of it."""
    lines = text.splitlines()
    whole = len(lines) == 1 or lines[0].strip() in "{["
    fields = json.loads(text if whole else lines[-1])

    def put(changed: object) -> bytes:
        new = json.dumps(changed)
        return (new if whole else "\n".join([*lines[:-1], new])).encode() + b"\n"

    for name, other in {"empty": "", "no JSON": "{", "a list": "[1, 2]", "null": "null", "a number": "3"}.items():
        yield name, other.encode() + b"\n"
    yield "not UTF-8", b"\xff\xfe" + text.encode()
    for share in (0.3, 0.7):
        # Not at the end of a line: that is the file as it was an epoch ago, which only the checkpoint can tell.
        kept = text[: int(share * len(text))].rstrip("\n")
        yield f"{share} of it", kept[:-1].encode()
    yield "last line cut off", text.encode()[:-4]
    if isinstance(fields, dict):
        names = sorted(set(fields) - {"crc32"})
        for name in rng.sample(names, min(4, len(names))):
            yield f"without {name}", put({k: v for k, v in fields.items() if k != name})
            yield f"{name} of another type", put(fields | {name: {"a": [1]}})
        yield "unknown field", put(fields | {"from_the_future": 1})
    digits = [i for i, c in enumerate(text) if c.isdigit() and c not in "89" and text[i - 1] != "e"]
    for i in rng.sample(digits, min(6, len(digits))):
        yield f"another digit at {i}", (text[:i] + chr(ord(text[i]) ^ 2) + text[i + 1 :]).encode()


def tensor_damage(contents: bytes, folder: Path, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Ways to damage a file of tensors."""
    for share in (0, 0.1, 0.5, 0.99):
        yield f"{share} of it", contents[: int(share * len(contents))]
    yield "a text", b"What is this?\n" * 50
    yield "no zip any more", b"\0" * 200 + contents[200:]
    for name, other in {
        "a tensor": torch.zeros(3),
        "a list": [1, 2],
        "an empty dictionary": {},
        "other fields": {"config": 3, "state": "?"},
        "other settings": {"settings": 3, "result": "?"},
        "a number": 4,
    }.items():
        torch.save(other, path := folder / "other.pt")
        yield name, path.read_bytes()
    saved = torch.load(folder / "original.pt", weights_only=True)
    inner = next((key for key in ("state", "result") if isinstance(saved.get(key), dict)), None)
    if inner is not None:
        for name in rng.sample(sorted(saved[inner]), min(4, len(saved[inner]))):
            rest = {k: v for k, v in saved[inner].items() if k != name}
            torch.save(saved | {inner: rest}, path)
            yield f"without {name}", path.read_bytes()
            torch.save(saved | {inner: rest | {name: "?"}}, path)
            yield f"{name} of another type", path.read_bytes()


# By command and file: the command that reads it.
READERS: list[tuple[str, str, list[str]]] = [
    ("train, Hermite", "x/config.json", [*HERMITE, "--resume"]),
    ("train, Hermite", "x/config.json", ["transfer", "evaluate", "runs/x", *EVALUATED, "--out", "runs/t"]),
    ("train, Hermite", "x/config.json", HERMITE),
    ("train, Hermite", "x/metrics.jsonl", [*HERMITE, "--resume"]),
    ("train, Hermite", "x/metrics.jsonl", ["plot", "runs/x", "--out", "runs/f"]),
    ("train, Hermite", "x/checkpoint.pt", [*HERMITE, "--resume"]),
    ("train, Hermite", "x/epochs/002.pt", ["transfer", "evaluate", "runs/x", *EVALUATED, "--out", "runs/t"]),
    ("train, Atoms", "x/checkpoint.pt", [*ATOMS, "--resume"]),
    ("word2vec", "x/checkpoint.pt", [*WORD2VEC, "--resume"]),
    ("word2vec", "x/metrics.jsonl", [*WORD2VEC, "--resume"]),
    ("word2vec", "x/metrics.jsonl", ["word2vec-figure", "runs/x", "--out", "runs/f.png"]),
    ("word2vec", "x/config.json", ["word2vec-figure", "runs/x", "--out", "runs/f.png"]),
    ("mu-limit", "x/config.json", MU_LIMIT),
    ("mu-limit", "x/limit.pt", MU_LIMIT),
    ("mu-limit", "x/width-16-seed-0.pt", MU_LIMIT),
    ("omniglot", "x-seed0/checkpoint.pt", [*OMNIGLOT, "--resume"]),
    ("omniglot", "x-seed0/metrics.jsonl", [*OMNIGLOT, "--resume"]),
    ("omniglot", "x-seed0/config.json", ["omniglot-plot", "runs/x-seed0", "--out", "runs/f"]),
    ("omniglot", "x-seed0/result.json", ["omniglot-plot", "runs/x-seed0", "--out", "runs/f"]),
    ("omniglot", "x-seed0/kernels.pt", ["omniglot-plot", "runs/x-seed0", "--out", "runs/f"]),
    ("transfer", "x/pi-limit-seed0/transfer/digits-40/kernel-001.json", TRANSFER),
    ("transfer", "x/ntk.json", TRANSFER),
    ("compare", "x/nngp/result.json", COMPARE),
    ("compare", "x/mu-net-seed0/metrics.jsonl", COMPARE),
    ("compare", "x/mu-net-seed0/config.json", COMPARE),
]


def said(outcome: Outcome) -> str:
    """What a command printed, but for the paths."""
    return re.sub(r"\s+", " ", outcome["out"])


@pytest.mark.parametrize("command, name, reader", READERS, ids=[f"{c}-{n}-{r[0]}" for c, n, r in READERS])
def test_damage(command: str, name: str, reader: list[str], place: Place, record: Record, tmp_path: Path):
    """Whatever is in a file that a command reads, it says so in one line, or does as if nothing were wrong."""
    folder = place.finished(COMMANDS[command])
    path, rng = folder / "runs" / name, random.Random(name)
    contents = path.read_bytes()
    if path.suffix == ".pt":
        (tmp_path / "original.pt").write_bytes(contents)
        cases = list(tensor_damage(contents, tmp_path, rng))
        cases += [(f"bit {i}", flipped(contents, i)) for i in rng.sample(range(8 * len(contents)), 12)]
    else:
        cases = list(json_damage(contents.decode(), rng))
    changes = [(f"runs/{name}", damaged.hex()) for _, damaged in [("", contents), *cases]]
    sound, *outcomes = place.run(folder, reader, changes=changes)["outcomes"]
    for (case, damaged), outcome in zip(cases, outcomes, strict=True):
        # What it prints and writes is as ever, and it has put the file right or had no use for what is wrong.
        others, files_now = ({k: v for k, v in o["files"].items() if k != f"runs/{name}"} for o in (sound, outcome))
        right = said(outcome) == said(sound) and others == files_now
        if outcome["files"].get(f"runs/{name}") != sound["files"][f"runs/{name}"]:
            as_damaged = outcome["files"].get(f"runs/{name}") == hashlib.sha256(damaged).hexdigest()
            right = right and as_damaged and (path.suffix != ".pt" or equal(damaged, contents))
        kind = "flipped bits" if case.startswith("bit ") else "damaged files"
        record(kind, f"{name}, {case}, read by {' '.join(reader[:2])}", judged(outcome, right))


def equal(damaged: bytes, contents: bytes) -> bool:
    """Whether two files hold the same, though their bytes differ; a zip archive has some that mean nothing."""
    try:
        return same(*(torch.load(io.BytesIO(data), weights_only=True) for data in (damaged, contents)))
    except Exception:  # it cannot be read at all
        return False


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def flipped(contents: bytes, bit: int) -> bytes:
    changed = bytearray(contents)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Folders of something else, and names that are none


FOREIGN = {
    "holiday.png": b"a picture",
    "curves.png": b"another",
    "checkpoint.pt": b"of a large model",
    "notes.txt": b"!",
}
NAMES = ["..", ".", "../outside", "/tmp/mupi-attack", "a/b", "a\nb", ".hidden"]


@pytest.mark.parametrize("command", [HERMITE, WORD2VEC, OMNIGLOT, COMPARE], ids=lambda args: args[0])
def test_folders_of_something_else(command: list[str], place: Place, record: Record):
    """Nothing is deleted that no run has written, and nothing is written outside of the folder of runs."""
    folder = place.new()
    theirs = folder / "runs" / ("x-seed0" if command is OMNIGLOT else "x")
    theirs.mkdir(parents=True)
    for overwrite in ([], ["--overwrite"]):
        for config in (None, b"{}", b'{"architectures": ["a large model"], "width": 3}'):
            for name, data in FOREIGN.items():
                (theirs / name).write_bytes(data)
            (theirs / "config.json").unlink(missing_ok=True)
            if config is not None:
                (theirs / "config.json").write_bytes(config)
            before = {name: (theirs / name).read_bytes() for name in FOREIGN}
            outcome = place.run(folder, [*command, *overwrite])
            kept = all((theirs / name).is_file() and (theirs / name).read_bytes() == before[name] for name in before)
            if command is COMPARE:  # which writes a figure of the name that it says it does, in folders of its own else
                kept = all((theirs / name).is_file() for name in before)
            case = f"{command[0]} {overwrite} with config.json {config}"
            record("folders that are no run", case, judged(outcome, True) if kept else "lost")
    for name in NAMES:
        outer = place.new()
        (inner := outer / "inner").mkdir()
        (inner / "data").symlink_to(place.data)
        (outer / "x.png").write_bytes(b"a picture")
        before = sorted(p.name for p in outer.iterdir())
        args = [name if old == "x" else old for old in command]
        outcome = place.run(inner, [*args, "--overwrite"])
        outside = sorted(p.name for p in outer.iterdir()) != before or Path("/tmp/mupi-attack").exists()
        inside = {p.name for p in inner.iterdir()} - {"runs", "data"}
        record("names", f"{command[0]} --name {name!r}", "lost" if outside or inside else judged(outcome, False))
        shutil.rmtree("/tmp/mupi-attack", ignore_errors=True)


# Two at once


def seeded(args: list[str], seed: int) -> list[str]:
    return [*args, *(["--seeds"] if args[0] == "omniglot" else ["--seed"]), str(seed)]


PAIRS: dict[str, tuple[list[str], list[str]]] = {
    "train, twice the same": (HERMITE, HERMITE),
    "train, two seeds": (seeded(HERMITE, 1), seeded(HERMITE, 2)),
    "train, two seeds, each to overwrite": (
        [*seeded(HERMITE, 1), "--overwrite"],
        [*seeded(HERMITE, 2), "--overwrite"],
    ),
    "train, two feature maps": (HERMITE, ATOMS),
    "word2vec, twice the same": (WORD2VEC, WORD2VEC),
    "word2vec, two seeds": (seeded(WORD2VEC, 1), seeded(WORD2VEC, 2)),
    "omniglot, twice the same": (OMNIGLOT, OMNIGLOT),
    "mu-limit, twice the same": (MU_LIMIT, MU_LIMIT),
    "mu-limit, two rates": (MU_LIMIT, [*MU_LIMIT, "--lr", ".3"]),
    "transfer, twice the same": (TRANSFER, TRANSFER),
    "compare, twice the same": (COMPARE, COMPARE),
    "compare, one to overwrite": (COMPARE, [*COMPARE, "--overwrite"]),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs(pair: str, place: Place, record: Record):
    """Of two processes that write the same, the files are those of one that ended well; the other said why not."""
    alone = [place.expected([a for a in args if a != "--overwrite"]) for args in PAIRS[pair]]
    folder = place.new()
    outcomes = place.commands.together(*({"cwd": str(folder), "args": args} for args in PAIRS[pair]))
    found = files(folder)
    ended = [expected for expected, outcome in zip(alone, outcomes, strict=True) if outcome["status"] == 0]
    right = any(matching(found, expected) for expected in ended)
    came_to = [judged(outcome, right) for outcome in outcomes]
    worst = next((o for o in ("crash", "traceback", "silent") if o in came_to), "right" if right else "lost")
    record("pairs of processes", f"{pair}: {[o['err'][-300:] for o in outcomes]}", worst)
