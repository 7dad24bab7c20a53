"""Choices of kind: words that stand for frozen values, whose fields are the options that there are beside them.

`mupi recipe omniglot tp4 mu-net --width 512` chooses a value of a class that has a width; beside `tp4 mu-limit` there
is no such option. A configuration holds the value itself; its field says by a mark which words there are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mupi.checks import fail

Words = Mapping[str, Any]
"""By the word: a frozen value, its class where something has no default, or the words of which one comes next."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Marks a field that holds one value of `Words`, each of a class of its own, or a tuple of several.

    Attributes:
        words: What there is to choose from.
        leading: Whether the words come first on the command line, or else after the option of the field's name.
        several: Whether the field holds a tuple.
        default: From the command line to the words of one that says none; None for the field's own default.
        was: By options of earlier versions: how what they said is said now.
    """

    words: Words
    leading: bool = False
    several: bool = False
    default: Callable[[Sequence[str]], tuple[str, ...]] | None = None
    was: Mapping[str, str] = field(default_factory=dict)

    def value(self, path: Sequence[str]) -> Any:
        """What words, one after the other, stand for; of further words, if none follows, the first."""
        found: Any = self.words
        for word in path:
            found = found[word]
        while isinstance(found, Mapping):
            found = next(iter(found.values()))
        return found

    def path(self, value: Any) -> tuple[str, ...]:
        """The words of a value or class."""
        kind = value if isinstance(value, type) else type(value)
        return next(path for path, one in walk(self.words) if (one if isinstance(one, type) else type(one)) is kind)

    def name(self, value: Any) -> str:
        """The last of them."""
        return self.path(value)[-1]

    def said(self, what: str, args: Sequence[str]) -> tuple[list[tuple[str, ...]] | None, list[str]]:
        """The paths that a command line says, None if it says nothing, and the rest of it.

        Args:
            what: The command for words that lead, or else the option.
            args: The command line.

        Raises:
            ValueError: If there is no such word, or one comes twice.
        """
        if self.leading:
            count = next((i for i, arg in enumerate(args) if arg.startswith("-")), len(args))
            given, rest = list(args[:count]) or None, list(args[count:])
        else:
            given, rest = values_of(what, args)
        if given is None:
            return None, rest
        paths = [self._checked(what, [word]) for word in given] if self.several else [self._checked(what, given)]
        if len(set(paths)) < len(paths):
            fail(what, "followed by different words" if self.leading else "different ones", " ".join(given))
        return paths, rest

    def _checked(self, what: str, path: Sequence[str]) -> tuple[str, ...]:
        known: Any = self.words
        for i, word in enumerate(path):
            before = " ".join([what, *path[:i]])
            if not isinstance(known, Mapping):
                fail(before, "followed by options only", repr(word))
            if word not in known:
                fail(before, f"{'followed by ' if self.leading else ''}one of {', '.join(known)}", repr(word))
            known = known[word]
        return tuple(path)


def walk(words: Words, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All values, with their words."""
    for word, value in words.items():
        if isinstance(value, Mapping):
            yield from walk(value, (*path, word))
        else:
            yield (*path, word), value


def values_of(option: str, args: Sequence[str]) -> tuple[list[str] | None, list[str]]:
    """What follows an option, up to the next one, or None if it is not there; and the command line without both."""
    given: list[str] | None = None
    rest, inside = [], False
    for arg in args:
        name, equals, value = arg.partition("=")
        if name == option:
            given, inside = [value] if equals else [], not equals
        elif given is not None and inside and not arg.startswith("-"):
            given.append(arg)
        else:
            inside = False
            rest.append(arg)
    return given, rest


@dataclass(frozen=True, eq=False)
class ByName:
    """Marks a field that holds one of some values that are written by a name, and have no options.

    Attributes:
        values: By their names.
    """

    values: Mapping[Any, Any]

    def name(self, value: Any) -> str:
        """Of a value."""
        return next(name for name, known in self.values.items() if known is value or known == value)
