"""Which rule translates which operation of PyTorch's, and how users add theirs."""

from collections.abc import Callable
from typing import Any

import torch

from mupi.torch_internals import OPERATOR, operator_name

Rule = Callable[..., Any]

RULES: dict[Any, Rule] = {}


def translates(*operations: Any) -> Callable[[Rule], Rule]:
    """Decorate the rule of operations of PyTorch's, or of your own: what they become in a description.

    The rule is called with the `Step` and the operation's arguments, those by position; tensors among them are
    `Traced` values, `Parameter`s and the like (`mupi.architecture.trace.values`). It returns what the result is:

        @translates(torch.ops.mylib.twice)
        def twice(step, x):
            return step.apply(Twice(), x)

    Args:
        operations: Overloads or packets of overloads.
    """

    def register(rule: Rule) -> Rule:
        for operation in operations:
            RULES[operation] = rule
        return rule

    return register


def rule_of(target: Any) -> Rule | None:
    """The rule of an overload: its own, its packet's, or that of the operation that does not work in place."""
    if target in RULES or not isinstance(target, OPERATOR):
        return RULES.get(target)
    packet = target.overloadpacket
    if packet in RULES:
        return RULES[packet]
    space, name, _ = operator_name(target)
    return RULES.get(getattr(torch.ops.aten, name, None)) if space == "aten" else None
