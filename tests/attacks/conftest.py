"""Keeps count of what each kind of attack came to, and prints the table of docs/reliability.md at the end."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

# What an attack may come to: the right answer or files, or one line that says why there is none.
GOOD = ("right", "refused")
# A wrong answer without a word, an exception that no message of ours explains, the end of the process, lost work.
BAD = ("silent", "traceback", "crash", "lost")

TALLY: dict[str, Counter[str]] = {}

Record = Callable[[str, str, str], None]


@pytest.fixture
def record() -> Iterator[Record]:
    """``record(kind, case, outcome)`` counts one attack; a test fails at its end, naming bad outcomes."""
    failures: list[str] = []

    def add(kind: str, case: str, outcome: str) -> None:
        assert outcome in GOOD + BAD, f"{outcome} is none of {GOOD + BAD}"
        TALLY.setdefault(kind, Counter())[outcome] += 1
        if outcome in BAD:
            failures.append(f"{kind}: {case}: {outcome}")

    yield add
    if failures:
        pytest.fail(f"{len(failures)} attacks succeeded:\n" + "\n".join(failures[:40]), pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder is an attack, run by ``make attack``."""
    for item in items:
        if "attacks" in item.path.parts:
            item.add_marker(pytest.mark.attack)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print cases and outcomes by kind."""
    if not TALLY:
        return
    terminalreporter.section("attacks")
    terminalreporter.write_line("| kind | cases | " + " | ".join(GOOD + BAD) + " |")
    for kind, outcomes in sorted(TALLY.items()):
        counts = " | ".join(str(outcomes[outcome]) for outcome in GOOD + BAD)
        terminalreporter.write_line(f"| {kind} | {outcomes.total()} | {counts} |")
