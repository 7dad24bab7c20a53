"""A command line read by what it chooses: the options of a configuration and of the values chosen, and no others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, get_type_hints

from mupi.checks import fail
from mupi.commands.choices import Choice, walk
from mupi.commands.groups import DOZEN, GROUPS, LATER
from mupi.commands.help import Option, documented, plain_hint, printed
from mupi.commands.options import applying, check_options, option
from mupi.commands.reading import read

HELP = ("-h", "--help", "--help-all")


@dataclass(frozen=True)
class Form:
    """What a command line may say, once its choices are known.

    Attributes:
        kind: The configuration.
        chosen: By its fields: the value chosen, or those chosen.
        said: By its fields: the words for that.
        parts: By its fields: the forms of configurations inside.
    """

    kind: type
    chosen: Mapping[str, Any]
    said: Mapping[str, tuple[tuple[str, ...], ...]]
    parts: Mapping[str, "Form"]

    @property
    def options(self) -> dict[str, Option]:
        """All, by name."""
        found: dict[str, Option] = {}
        for one, hint, choice in described(self.kind):
            if choice is not None:
                values = self.chosen[one.name]
                for value in values if choice.several else (values,):
                    kind = value if isinstance(value, type) else type(value)
                    for inner, inner_hint, _ in described(kind):
                        default = default_of(inner) if kind is value else getattr(value, inner.name)
                        found.setdefault(inner.name, of_field(kind, inner, inner_hint, default))
            elif one.name in self.parts:
                found |= self.parts[one.name].options
            else:
                found[one.name] = of_field(self.kind, one, hint, default_of(one))
        return found

    @property
    def choices(self) -> dict[str, tuple[Choice, str, str]]:
        """All, by name: with what help says of them, and the words that were said or stand for the default."""
        found = {}
        for one, _, choice in described(self.kind):
            if choice is not None:
                words = " ".join(" ".join(path) for path in self.said[one.name])
                found[one.name] = choice, documented(self.kind)[one.name], words
        for part in self.parts.values():
            found |= part.choices
        return found

    def value(self, said: Any) -> Any:
        """The configuration, of what its options are."""
        values = {}
        for one, _, choice in described(self.kind):
            if choice is not None:
                chosen = self.chosen[one.name]
                values[one.name] = tuple(filled(v, said) for v in chosen) if choice.several else filled(chosen, said)
            elif one.name in self.parts:
                values[one.name] = self.parts[one.name].value(said)
            else:
                values[one.name] = getattr(said, one.name)
        return self.kind(**values)


def form_of(kind: type, args: Sequence[str], prog: str) -> tuple[Form, list[str]]:
    """The form that a command line asks for, and what of it is left to be read.

    Raises:
        ValueError: If there is no such word.
    """
    chosen: dict[str, Any] = {}
    said: dict[str, tuple[tuple[str, ...], ...]] = {}
    parts: dict[str, Form] = {}
    rest = list(args)
    for one, hint, choice in described(kind):
        if choice is not None:
            what = prog if choice.leading else option(one.name)
            paths, rest = choice.said(what, rest)
            if paths is None and choice.default is not None:
                paths = [(word,) for word in choice.default(args)]
            if paths is None:
                chosen[one.name] = default_of(one)
                values = chosen[one.name] if choice.several else (chosen[one.name],)
                paths = [choice.path(value) for value in values]
            else:
                values = tuple(choice.value(path) for path in paths)
                chosen[one.name] = values if choice.several else values[0]
            said[one.name] = tuple(paths)
        elif is_dataclass(inner := plain_hint(hint)) and isinstance(inner, type) and default_of(one) is MISSING:
            parts[one.name], rest = form_of(inner, rest, prog)
    return Form(kind, chosen, said, parts), rest


def read_form(kind: type, args: Sequence[str], prog: str, examples: Sequence[str]) -> Any:
    """The configuration that a command line asks for.

    Args:
        kind: Its class, a dataclass.
        args: Without the command.
        prog: The command.
        examples: How it is used.

    Raises:
        ValueError: In one line, if there is no such option, word or value.
        SystemExit: With status 0, once help is printed.
    """
    asked = [arg for arg in args if arg in HELP]
    form, rest = form_of(kind, [arg for arg in args if arg not in HELP], prog)
    options = form.options
    if asked:
        print(help_of(form, rest, prog, examples, "--help-all" in asked))
        raise SystemExit(0)
    refuse_what_does_not_apply(rest, form, prog)
    known = make_dataclass(
        kind.__name__,
        [(o.name, Annotated[plain_hint(o.hint), *o.marks], field(default=o.default)) for o in options.values()],
        frozen=True,
        kw_only=True,
    )
    said = read(known, rest, prog)
    check_options(said, rest)
    return form.value(said)


def help_of(form: Form, args: Sequence[str], prog: str, examples: Sequence[str], whole: bool) -> str:
    """The first screen of help, or all of it."""
    options = applying(form.options.values(), args)
    words, meaning = dict[str, str](), ""
    for name, (choice, does, said) in form.choices.items():
        if choice.leading:
            words = {" ".join(path): summary(value) for path, value in walk(choice.words)}
            meaning = f"{does} (here: {said})"
        else:
            options.append(Option(name, Annotated[tuple, choice], said, does))
    order = [name for names in GROUPS.values() for name in names]
    options.sort(key=lambda o: order.index(o.name))
    first = {o.name for o in options if len(options) <= DOZEN or o.name not in LATER}
    about = " ".join((form.kind.__doc__ or "").split())
    shown = None if whole or len(first) == len(options) else first
    return printed(prog, about, options, GROUPS, shown, examples, words, meaning)


def summary(value: Any) -> str:
    """What the docstring of a value's class begins with."""
    kind = value if isinstance(value, type) else type(value)
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def refuse_what_does_not_apply(args: Sequence[str], form: Form, prog: str) -> None:
    """Say of an option of another choice, or of an earlier version, what there is instead.

    Raises:
        ValueError: If there is one.
    """
    options = form.options
    elsewhere, said, was = dict[str, list[str]](), dict[str, list[str]](), dict[str, str]()
    for what, (choice, _, words) in form.choices.items():
        was |= choice.was
        for path, value in walk(choice.words):
            for one in fields(value):
                elsewhere.setdefault(one.name, []).append(" ".join(path))
                said.setdefault(one.name, []).append(words if choice.leading else f"{option(what)} {words}".strip())
    for arg in args:
        flag = arg.partition("=")[0]
        name = flag[2:].replace("-", "_")
        if flag[:2] != "--" or name in options or name.removeprefix("no_") in options:
            continue
        if flag in was:
            fail(flag, f"written otherwise now: {was[flag]}", flag)
        if owners := elsewhere.get(name.removeprefix("no_")):
            beside = " ".join(dict.fromkeys(said[name.removeprefix("no_")]))
            must = f"left out unless beside {' or '.join(owners)}" if len(owners) < 4 else "left out, as there is none"
            fail(option(name.removeprefix("no_")), must, f"it beside {beside}", f"see {prog} --help")


def described(kind: type) -> Iterator[tuple[Field, Any, Choice | None]]:
    """The fields of a dataclass with their annotations and choices."""
    hints = get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        marks = getattr(hints[one.name], "__metadata__", ())
        yield one, hints[one.name], next((mark for mark in marks if isinstance(mark, Choice)), None)


def default_of(one: Field) -> Any:
    """The default of a field; MISSING if it has none."""
    return one.default_factory() if one.default_factory is not MISSING else one.default


def of_field(kind: type, one: Field, hint: Any, default: Any) -> Option:
    """The option of a field."""
    return Option(one.name, hint, default, documented(kind)[one.name])


def filled(value: Any, said: Any) -> Any:
    """A value of the chosen one's class, or of the chosen class, with what its options are."""
    kind: Any = value if isinstance(value, type) else type(value)
    return kind(**{one.name: getattr(said, one.name) for one in fields(kind)})
