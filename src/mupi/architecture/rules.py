"""How a reading is made of rules, one for each kind of operation, to which users may add their own."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any, NoReturn

from mupi.architecture.description import Node
from mupi.architecture.operation import Operation


class Rules:
    """What a reading does with each kind of operation: a `functools.singledispatch` on the operation.

    ``rules.register(Operation)`` decorates a rule, a function of (operation, …, *values that it reads); what else it is
    given is the reading's to say. A class from outside of mupi is registered in the same way.

    Args:
        reading: What the reading is called in messages.
        hint: What to do where there is none.
    """

    def __init__(self, reading: str, hint: str):
        self.reading = reading
        self.hint = hint

        @singledispatch
        def rule(operation: Operation, *_: Any) -> Any:
            raise LookupError

        self._rule = rule

    def register(self, operation: type[Operation]) -> Callable:
        """Decorate the rule of a kind of operation."""
        return self._rule.register(operation)

    def covers(self, operation: Operation) -> bool:
        """Whether there is a rule."""
        return self._rule.dispatch(type(operation)) is not self._rule.dispatch(Operation)

    def __call__(self, node: Node, *args: Any) -> Any:
        """Apply the rule of the node's operation.

        Raises:
            ValueError: If there is none, or it refuses: see `Refused`.
        """
        if not self.covers(node.operation):
            kind = type(node.operation).__name__
            self.refuse(node, f"`{kind}` has no rule", f"register one with {self.hint}({kind})")
        try:
            return self._rule.dispatch(type(node.operation))(node.operation, *args)
        except Refused as reason:
            self.refuse(node, reason.reason, reason.hint)

    def refuse(self, node: Node, reason: str, hint: str = "") -> NoReturn:
        """Raise the reading's ``ValueError`` about a node."""
        must = f"an operation that has {self.reading}; got one that has none: {reason}"
        raise ValueError(f"{node} must be {must}{f'; {hint}' if hint else ''}")


class Refused(Exception):
    """What a rule raises where the reading has no right value; the node is named by `Rules`.

    Args:
        reason: Why, in mathematics.
        hint: What to do instead.
    """

    def __init__(self, reason: str, hint: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
