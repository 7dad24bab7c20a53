"""Attacks on gradients that are kept as rows: those of `mupi.Atoms` and of `mupi.factor_gradients`.

Each case is done to three networks that are the same function, of an activation of degree 2, for which `Hermite(2)`
is the π-limit: with `Atoms`, with factored gradients, and with ordinary parameters, which say what is right.
"""

import copy
import io
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

import mupi
from mupi.optim import MatrixParameter

# torch's, of what it has not made fast; and of graphs that are kept.
pytestmark = pytest.mark.filterwarnings("ignore")

QUADRATIC = mupi.Polynomial((0.2, 1.0, 0.3))
LR = 0.02


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network(kind: str) -> mupi.PiMLP:
    """The same function whatever the kind."""
    net = mupi.PiMLP(
        4,
        3,
        5,
        2,
        features=mupi.Atoms() if kind == "atoms" else mupi.Hermite(2),
        activation=QUADRATIC,
        readout_std=0.3,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )
    if kind == "factored":
        mupi.factor_gradients(net)
    return net


X, Y, TEST = draw(24, 4, seed=1), draw(24, 3, seed=2), draw(6, 4, seed=3)


def loss(net: nn.Module, rows: slice = slice(None)) -> Tensor:
    return (net(X[rows]) - Y[rows]).square().sum() / len(X)


def step(net: nn.Module) -> Tensor:
    """The function after a step along the gradients that there are."""
    mupi.SGD(net.parameters(), lr=LR, clip=0.7).step()
    return outputs(net)


def outputs(net: nn.Module) -> Tensor:
    with torch.no_grad():
        return net(TEST)


def is_refusal(error: Exception) -> bool:
    """One line, which says what of mupi it is about."""
    text = str(error)
    return "\n" not in text.strip() and ("mupi" in text or "atoms" in text or "factor" in text)


def judge(got: Tensor, right: Tensor, rtol: float = 1e-8) -> str:
    if got.shape != right.shape:
        return "silent"
    return "right" if float((got - right).abs().max()) <= rtol * float(right.abs().max()) else "silent"


def compare(record, kind: str, case: str, attack: Callable[[mupi.PiMLP], Tensor], rtol: float = 1e-8) -> None:
    """Do the same to both, and to ordinary parameters."""
    right = attack(network("ordinary"))
    for features in ("atoms", "factored"):
        net = network(features)
        try:
            outcome = judge(attack(net), right, rtol)
        except Exception as error:
            outcome = "refused" if is_refusal(error) else "traceback"
            if outcome == "traceback":
                print(f"{kind}: {case}, {features}: {type(error).__name__}: {error}")
        record(kind, f"{case}, {features}", outcome)


# Threads and passes inside of passes


def in_threads(threads: int, passes: int) -> Callable[[mupi.PiMLP], Tensor]:
    def attack(net: mupi.PiMLP) -> Tensor:
        net.eval()  # only gradients are under attack
        size, barrier, errors = len(X) // (threads * passes), threading.Barrier(threads), []

        def work(index: int) -> None:
            try:
                losses = []
                for i in range(index * passes, (index + 1) * passes):
                    losses.append(loss(net, slice(i * size, (i + 1) * size)))
                barrier.wait()
                for value in losses:
                    value.backward()
            except Exception as error:
                errors.append(error)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if errors:
            raise errors[0]
        return step(net)

    return attack


def test_threads(record):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for threads, passes in [(2, 1), (2, 3), (2, 12), (4, 1), (4, 3), (4, 6), (8, 1), (8, 3)]:
            for repeat in range(3):
                case = f"{threads} threads of {passes} passes, {repeat}"
                compare(record, "threads", case, in_threads(threads, passes))
    finally:
        sys.setswitchinterval(interval)


class Nested(torch.autograd.Function):
    """Identity whose backward pass runs one of its own."""

    @staticmethod
    def forward(ctx, x, run):
        ctx.run = run
        return x.clone()

    @staticmethod
    def backward(ctx, delta):  # pyright: ignore[reportIncompatibleMethodOverride]
        with torch.enable_grad():
            ctx.run()
        return delta, None


FIRST, SECOND, THIRD = slice(0, 8), slice(8, 16), slice(16, 24)


def nested_in_function(net: mupi.PiMLP) -> Tensor:
    out = Nested.apply(net(X[FIRST]), lambda: loss(net, SECOND).backward())
    ((out - Y[FIRST]).square().sum() / len(X)).backward()
    return step(net)


def nested_below_the_layers(net: mupi.PiMLP) -> Tensor:
    inputs = Nested.apply(X[FIRST].clone().requires_grad_(), lambda: loss(net, SECOND).backward())
    ((net(inputs) - Y[FIRST]).square().sum() / len(X)).backward()
    return step(net)


def nested_between_the_layers(net: mupi.PiMLP) -> Tensor:
    hidden = net.hidden(X[FIRST])
    middle = Nested.apply(hidden[-1], lambda: loss(net, SECOND).backward())
    out = net.layers[-1](middle)
    ((out - Y[FIRST]).square().sum() / len(X)).backward()
    return step(net)


def nested_in_a_hook(net: mupi.PiMLP) -> Tensor:
    out = net(X[FIRST])

    def run(delta: Tensor) -> None:
        with torch.enable_grad():
            loss(net, SECOND).backward()

    out.register_hook(run)
    ((out - Y[FIRST]).square().sum() / len(X)).backward()
    return step(net)


def nested_twice(net: mupi.PiMLP) -> Tensor:
    def inner() -> None:
        out = Nested.apply(net(X[SECOND]), lambda: loss(net, THIRD).backward())
        ((out - Y[SECOND]).square().sum() / len(X)).backward()

    out = Nested.apply(net(X[FIRST]), inner)
    ((out - Y[FIRST]).square().sum() / len(X)).backward()
    return step(net)


def nested_after_a_bias(net: mupi.PiMLP) -> Tensor:
    runs = [SECOND]
    bias = net.get_parameter("layers.1.bias")

    def run(_: Tensor) -> None:
        with torch.enable_grad():
            if runs:
                loss(net, runs.pop()).backward(inputs=rest)

    bias.register_post_accumulate_grad_hook(run)
    rest = [p for p in net.parameters() if p is not bias]
    loss(net, FIRST).backward()
    return step(net)


def nested_pass_for_inputs_only(net: mupi.PiMLP) -> Tensor:
    def saliency() -> None:
        inputs = X[SECOND].clone().requires_grad_()
        torch.autograd.grad(net(inputs).sum(), inputs)

    out = Nested.apply(net(X[FIRST]), saliency)
    ((out - Y[FIRST]).square().sum() / len(X)).backward()
    return step(net)


def checkpointed(reentrant: bool, twice: bool = False) -> Callable[[mupi.PiMLP], Tensor]:
    def attack(net: mupi.PiMLP) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            out = checkpoint(net, x, use_reentrant=reentrant) if twice else net(x)
            assert isinstance(out, Tensor)
            return out

        out = checkpoint(inner, X.clone().requires_grad_(), use_reentrant=reentrant)
        assert isinstance(out, Tensor)
        ((out - Y).square().sum() / len(X)).backward()
        return step(net)

    return attack


def test_passes_inside_of_passes(record):
    for attack in (
        nested_in_function,
        nested_below_the_layers,
        nested_between_the_layers,
        nested_in_a_hook,
        nested_twice,
        nested_after_a_bias,
        nested_pass_for_inputs_only,
    ):
        compare(record, "nested backward", attack.__name__, attack)
    for reentrant in (True, False):
        for twice in (True, False):
            compare(record, "checkpoint", f"reentrant {reentrant}, twice {twice}", checkpointed(reentrant, twice))


# Twice differentiated


def flat(tensors) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def penalty(net: nn.Module, norm: bool = True) -> Tensor:
    """Of a gradient by the inputs; graph kept."""
    inputs = X.clone().requires_grad_()
    (d_x,) = torch.autograd.grad(net(inputs).sum(), inputs, create_graph=True)
    return (d_x.norm(dim=1) - 1).square().mean() if norm else d_x.square().sum()


def penalty_step(net: mupi.PiMLP) -> Tensor:
    (loss(net) + 0.1 * penalty(net)).backward()
    return step(net)


def penalty_of_the_loss(net: mupi.PiMLP) -> Tensor:
    inputs = X.clone().requires_grad_()
    value = (net(inputs) - Y).square().sum() / len(X)
    (d_x,) = torch.autograd.grad(value, inputs, create_graph=True)
    (value + d_x.square().sum()).backward()
    return step(net)


def penalty_of_what_is_not_rows(net: mupi.PiMLP) -> Tensor:
    """By the biases only."""
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    penalty(net).backward(inputs=biases)
    return flat(p.grad if p.grad is not None else torch.zeros_like(p) for p in biases)


def penalty_with_frozen_layers(net: mupi.PiMLP) -> Tensor:
    net.layers.requires_grad_(False)
    (loss(net) + 0.1 * penalty(net)).backward()
    return step(net)


def penalty_by_inputs(net: mupi.PiMLP) -> Tensor:
    inputs = X.clone().requires_grad_()
    (d_x,) = torch.autograd.grad(net(inputs).sum(), inputs, create_graph=True)
    return torch.autograd.grad(d_x.square().sum(), inputs)[0]


def third_derivative(net: mupi.PiMLP) -> Tensor:
    inputs = X.clone().requires_grad_()
    d_x = net(inputs)
    for _ in range(3):
        (d_x,) = torch.autograd.grad(d_x.square().sum(), inputs, create_graph=True)
    return d_x.detach()


def hessian(net: mupi.PiMLP) -> Tensor:
    value = torch.autograd.functional.hessian(lambda x: net(x).square().sum(), X[0])
    assert isinstance(value, Tensor)
    return value


def hessian_vector(net: mupi.PiMLP) -> Tensor:
    _, value = torch.autograd.functional.hvp(lambda x: net(x).square().sum(), X, draw(24, 4, seed=9))
    assert isinstance(value, Tensor)
    return value


def jacobian_penalty(net: mupi.PiMLP) -> Tensor:
    value = torch.autograd.functional.jacobian(lambda x: net(x).sum(0), X, create_graph=True)
    assert isinstance(value, Tensor)
    (0.01 * value.square().sum()).backward()
    return step(net)


def backward_with_create_graph(net: mupi.PiMLP) -> Tensor:
    loss(net).backward(create_graph=True)
    return step(net)


def create_graph_between_plain_passes(net: mupi.PiMLP) -> Tensor:
    loss(net, FIRST).backward()
    loss(net, SECOND).backward(create_graph=True)
    loss(net, THIRD).backward()
    return step(net)


def gradient_norm_penalty(net: mupi.PiMLP) -> Tensor:
    """By the gradients of all parameters."""
    gradients = torch.autograd.grad(loss(net), list(net.parameters()), create_graph=True)
    (0.1 * torch.stack([g.square().sum() for g in gradients]).sum()).backward()
    return step(net)


def meta_step(net: mupi.PiMLP) -> Tensor:
    """The gradient of the loss after a step of the readout's bias, as in MAML."""
    bias = net.get_parameter("layers.1.bias")
    (d_bias,) = torch.autograd.grad(loss(net, FIRST), bias, create_graph=True)
    out = net(X[SECOND]) - LR * d_bias
    ((out - Y[SECOND]).square().sum() / len(X)).backward()
    return step(net)


def test_double_backward(record):
    for attack in (
        penalty_step,
        penalty_of_the_loss,
        penalty_of_what_is_not_rows,
        penalty_with_frozen_layers,
        penalty_by_inputs,
        third_derivative,
        hessian,
        hessian_vector,
        jacobian_penalty,
        backward_with_create_graph,
        create_graph_between_plain_passes,
        gradient_norm_penalty,
        meta_step,
    ):
        compare(record, "double backward", attack.__name__, attack)


# Accumulation, hooks, parts of the graph


def micro_batches(net: mupi.PiMLP) -> Tensor:
    for rows in (FIRST, SECOND, THIRD):
        loss(net, rows).backward()
    return step(net)


def retain_graph_twice(net: mupi.PiMLP) -> Tensor:
    value = loss(net)
    value.backward(retain_graph=True)
    value.backward()
    return step(net)


def retain_graph_then_inputs(net: mupi.PiMLP) -> Tensor:
    inputs = X.clone().requires_grad_()
    value = (net(inputs) - Y).square().sum() / len(X)
    torch.autograd.grad(value, inputs, retain_graph=True)
    value.backward()
    return step(net)


def a_pass_that_fails(net: mupi.PiMLP) -> Tensor:
    """Above all layers; caught, and the batch is tried again."""

    def fail(delta: Tensor) -> Tensor:
        raise KeyError("user")

    out = net(X)
    out.register_hook(fail)
    with pytest.raises(KeyError):
        out.sum().backward()
    loss(net).backward()
    return step(net)


def a_pass_that_fails_between_uses(net: mupi.PiMLP) -> Tensor:
    """A layer that is used twice has seen the one, not the other."""
    layer = net.layers[0]

    def fail(delta: Tensor) -> Tensor:
        raise KeyError("user")

    middle = layer(X @ draw(4, 5, seed=5))
    middle.register_hook(fail)
    with pytest.raises(KeyError):
        layer(middle).sum().backward()
    layer(X @ draw(4, 5, seed=5)).square().sum().backward()
    return step(net)


def unused_layer(net: mupi.PiMLP) -> Tensor:
    net.hidden(X)[0].square().mean().backward()
    return step(net)


def zero_grad_between(net: mupi.PiMLP) -> Tensor:
    loss(net, FIRST).backward()
    net.zero_grad(set_to_none=False)
    loss(net, SECOND).backward()
    return step(net)


def hook_on_the_hidden_layer(net: mupi.PiMLP) -> Tensor:
    hidden = net.hidden(X)[-1]
    hidden.register_hook(lambda delta: 2 * delta)
    net.layers[-1](hidden).square().mean().backward()
    return step(net)


def hooks_that_double_gradients(net: mupi.PiMLP) -> Tensor:
    for p in net.parameters():
        p.register_hook(lambda gradient: 2 * gradient)
    loss(net).backward()
    return step(net)


def hooks_after_accumulation(net: mupi.PiMLP) -> Tensor:
    """A step in the backward pass, parameter by parameter."""
    for p in net.parameters():
        optimizer = mupi.SGD([p], lr=LR)
        p.register_post_accumulate_grad_hook(lambda _, optimizer=optimizer: optimizer.step())
    (0.5 * net.layers[-1](draw(8, 5, seed=4))).square().sum().backward()
    return outputs(net)


def module_hook(net: mupi.PiMLP) -> Tensor:
    net.layers[-1].register_full_backward_hook(lambda module, d_in, d_out: (3 * d_in[0],))
    loss(net).backward()
    return step(net)


def gradient_of_the_inputs(net: mupi.PiMLP) -> Tensor:
    inputs = X.clone().requires_grad_()
    (d_x,) = torch.autograd.grad(net(inputs).square().sum(), inputs)
    assert all(p.grad is None for p in net.parameters())
    return d_x


def gradient_of_biases(net: mupi.PiMLP) -> Tensor:
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    return flat(torch.autograd.grad(loss(net), biases))


def backward_to_biases(net: mupi.PiMLP) -> Tensor:
    loss(net).backward(inputs=[p for name, p in net.named_parameters() if name.endswith("bias")])
    return step(net)


def backward_to_the_first_layer(net: mupi.PiMLP) -> Tensor:
    loss(net).backward(inputs=[net.input.weight])
    return step(net)


def gradient_of_the_parameters(net: mupi.PiMLP) -> Tensor:
    return torch.stack([g.norm() for g in torch.autograd.grad(loss(net), list(net.parameters()))])


def gradient_of_unused_allowed(net: mupi.PiMLP) -> Tensor:
    gradients = torch.autograd.grad(loss(net), list(net.parameters()), allow_unused=True)
    return torch.stack([g.norm() if g is not None else torch.zeros((), dtype=torch.float64) for g in gradients])


def gradients_set_by_hand(net: mupi.PiMLP) -> Tensor:
    for p, g in zip(net.parameters(), torch.autograd.grad(loss(net), list(net.parameters())), strict=True):
        p.grad = g
    return step(net)


def gradients_scaled_in_place(net: mupi.PiMLP) -> Tensor:
    loss(net).backward()
    for p in net.parameters():
        assert p.grad is not None
        p.grad.mul_(0.5)
    return step(net)


def moved_with_a_gradient(net: mupi.PiMLP) -> Tensor:
    loss(net).backward()
    net.float().double()
    return step(net)


def gradient_copied_away(net: mupi.PiMLP) -> Tensor:
    """Kept, and put back after another pass."""
    loss(net, FIRST).backward()
    kept = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    loss(net, SECOND).backward()
    for p, gradient in zip(net.parameters(), kept, strict=True):
        p.grad = gradient
    return step(net)


def test_accumulation_and_hooks(record):
    for attack in (
        micro_batches,
        retain_graph_twice,
        retain_graph_then_inputs,
        a_pass_that_fails,
        a_pass_that_fails_between_uses,
        unused_layer,
        zero_grad_between,
        gradients_set_by_hand,
        gradients_scaled_in_place,
        gradient_copied_away,
    ):
        compare(record, "accumulation", attack.__name__, attack)
    compare(record, "accumulation", "moved_with_a_gradient", moved_with_a_gradient, 1e-5)
    for attack in (
        hook_on_the_hidden_layer,
        hooks_that_double_gradients,
        hooks_after_accumulation,
        module_hook,
    ):
        compare(record, "hooks", attack.__name__, attack)
    for attack in (
        gradient_of_the_inputs,
        gradient_of_biases,
        backward_to_biases,
        backward_to_the_first_layer,
        gradient_of_the_parameters,
        gradient_of_unused_allowed,
    ):
        compare(record, "parts of the graph", attack.__name__, attack)


# Transforms


def func_grad(net: mupi.PiMLP) -> Tensor:
    return torch.func.grad(lambda x: net(x).square().sum())(X)


def func_jacrev(net: mupi.PiMLP) -> Tensor:
    return torch.func.jacrev(lambda x: net(x))(X[0]).detach()


def func_jvp(net: mupi.PiMLP) -> Tensor:
    return torch.func.jvp(net, (X,), (draw(24, 4, seed=9),))[1].detach()


def func_hessian(net: mupi.PiMLP) -> Tensor:
    return torch.func.jacrev(torch.func.jacrev(lambda x: net(x).square().sum()))(X[0]).detach()


def func_vmap(net: mupi.PiMLP) -> Tensor:
    return torch.func.vmap(net)(X.reshape(6, 4, 4)).detach()


def vmap_then_step(net: mupi.PiMLP) -> Tensor:
    (torch.func.vmap(net)(X) - Y).square().mean().backward()
    return step(net)


def transform_in_the_loss(net: mupi.PiMLP) -> Tensor:
    d_x = torch.func.grad(lambda x: net(x).sum())(X)
    (loss(net) + 0.1 * d_x.square().mean()).backward()
    return step(net)


def call_with_its_own(net: mupi.PiMLP) -> Tensor:
    out = torch.func.functional_call(net, dict(net.named_parameters()), (X,))
    (out - Y).square().mean().backward()
    return step(net)


def call_with_detached(net: mupi.PiMLP) -> Tensor:
    own = {name: p.detach() for name, p in net.named_parameters()}
    return torch.func.functional_call(net, own, (X,)).detach()


def call_with_another_s(net: mupi.PiMLP) -> Tensor:
    """The parameters of a copy that was trained."""
    other = copy.deepcopy(net)
    loss(other).backward()
    step(other)
    return torch.func.functional_call(net, dict(other.named_parameters()), (TEST,)).detach()


def grad_by_parameters(net: mupi.PiMLP) -> Tensor:
    parameters = dict(net.named_parameters())

    def value(p):
        return (torch.func.functional_call(net, p, (X,)) - Y).square().mean()

    return torch.stack([g.norm() for g in torch.func.grad(value)(parameters).values()]).detach()


def per_sample_gradients(net: mupi.PiMLP) -> Tensor:
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def value(p, x, y):
        return (torch.func.functional_call(net, p, (x,)) - y).square().mean()

    gradients = torch.func.vmap(torch.func.grad(value), (None, 0, 0))(parameters, X, Y)
    return torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()])


def ensemble(net: mupi.PiMLP) -> Tensor:
    parameters, buffers = torch.func.stack_module_state([net, copy.deepcopy(net)])  # pyright: ignore

    def call(p, b, x):
        return torch.func.functional_call(net, (p, b), (x,))

    return torch.func.vmap(call, (0, 0, None))(parameters, buffers, X).detach()


def test_transforms(record):
    for attack in (
        func_grad,
        func_jacrev,
        func_jvp,
        func_hessian,
        func_vmap,
        vmap_then_step,
        transform_in_the_loss,
        call_with_its_own,
        call_with_detached,
        call_with_another_s,
        grad_by_parameters,
        per_sample_gradients,
        ensemble,
    ):
        compare(record, "torch.func", attack.__name__, attack)


# Modes


def under_no_grad(net: mupi.PiMLP) -> Tensor:
    with torch.no_grad():
        net(X)
    loss(net).backward()
    return step(net)


def under_inference_mode(net: mupi.PiMLP) -> Tensor:
    with torch.inference_mode():
        out = net(TEST)
    loss(net).backward()
    return torch.cat([out.clone(), step(net)])


def loaded_in_inference_mode(net: mupi.PiMLP) -> Tensor:
    state = copy.deepcopy(net.state_dict())
    with torch.inference_mode():
        net.load_state_dict(state)
    loss(net).backward()
    return step(net)


def step_in_inference_mode(net: mupi.PiMLP) -> Tensor:
    loss(net).backward()
    with torch.inference_mode():
        step(net)
    loss(net).backward()
    return step(net)


def autocast(dtype: torch.dtype, step_inside: bool) -> Callable[[mupi.PiMLP], Tensor]:
    def attack(net: mupi.PiMLP) -> Tensor:
        net = net.float()
        ordinary = not isinstance(net.input.weight, MatrixParameter) and net.num_atoms == 0
        optimizer = mupi.SGD(net.parameters(), lr=LR, clip=0.7)
        with torch.autocast("cpu", dtype=dtype, enabled=not ordinary):
            value = (net(X.float()) - Y.float()).square().sum() / len(X)
            if step_inside:
                value.backward()
                optimizer.step()
        if not step_inside:
            value.backward()
            optimizer.step()
        return net(TEST.float()).double().detach()

    return attack


def autocast_evaluation(net: mupi.PiMLP) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=net.num_atoms > 0):
        return net.layers[-1](draw(6, 5, seed=8)).double()


def test_modes(record):
    for attack in (under_no_grad, under_inference_mode, loaded_in_inference_mode, step_in_inference_mode):
        compare(record, "grad modes", attack.__name__, attack)
    for dtype in (torch.bfloat16, torch.float16):
        for inside in (True, False):
            # What comes from other layers has eight bits, or eleven.
            compare(record, "autocast", f"{dtype}, step inside {inside}", autocast(dtype, inside), rtol=2**-6)
    compare(record, "autocast", "evaluation of a layer", autocast_evaluation)


# Copies


def trained_copy(make: Callable[[nn.Module], nn.Module]) -> Callable[[mupi.PiMLP], Tensor]:
    """The original and its copy after they were trained apart."""

    def attack(net: mupi.PiMLP) -> Tensor:
        loss(net).backward()
        step(net)
        twin = make(net)
        loss(twin, FIRST).backward()
        step(twin)
        loss(net, SECOND).backward()
        step(net)
        return torch.cat([outputs(net), outputs(twin)])

    return attack


def through_torch_save(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


def through_state_dict(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    twin = network("atoms" if getattr(net, "num_atoms", 0) else "ordinary")
    if isinstance(net.get_parameter("input.weight"), MatrixParameter) and not twin.num_atoms:
        mupi.factor_gradients(twin)
    twin.load_state_dict(torch.load(io.BytesIO(file.getvalue())))
    return twin


def in_a_queue_to_a_process(net: mupi.PiMLP) -> Tensor:
    """As `torch.multiprocessing` sends modules: parameters are shared, lists of atoms are either's own."""
    loss(net).backward()
    step(net)
    twin, g = pickle.loads(bytes(ForkingPickler.dumps(net))), draw(6, 5, seed=8)
    with torch.no_grad():
        before = net.layers[-1].weight(g)
        loss_of_twin = loss(twin)
    loss(twin).backward()
    mupi.SGD(twin.parameters(), lr=LR, weight_decay=0.5).step()
    after = net.layers[-1].weight(g).detach() if net.num_atoms else before
    return torch.cat([after, loss_of_twin.reshape(1, 1).expand(1, 3)])


def with_its_optimizer(copied: Callable, net_first: bool) -> Callable[[mupi.PiMLP], Tensor]:
    def attack(net: mupi.PiMLP) -> Tensor:
        optimizer = mupi.SGD(net.parameters(), lr=LR, momentum=0.9)
        for rows in (FIRST, SECOND):
            loss(net, rows).backward()
            optimizer.step()
        pair = (net, optimizer) if net_first else (optimizer, net)
        copies = copied(pair)
        twin, its_optimizer = copies if net_first else copies[::-1]
        before = outputs(net)
        loss(twin, THIRD).backward()
        its_optimizer.step()
        return torch.cat([outputs(twin), before - outputs(net), outputs(net)])

    return attack


def parameters_alone(net: mupi.PiMLP) -> Tensor:
    """Pickled without their module, and trained: they must not belong to it."""
    parameters = pickle.loads(pickle.dumps(list(net.parameters())))
    loss(net).backward()
    mupi.SGD(parameters, lr=LR).step()
    return outputs(net)


def averaged(options: dict) -> Callable[[mupi.PiMLP], Tensor]:
    def attack(net: mupi.PiMLP) -> Tensor:
        average = AveragedModel(net, **options)
        for rows in (FIRST, SECOND, THIRD):
            loss(net, rows).backward()
            step(net)
            average.update_parameters(net)
        return outputs(average)

    return attack


def averaged_by_hand(net: mupi.PiMLP) -> Tensor:
    average = copy.deepcopy(net)
    loss(net).backward()
    step(net)
    for p, q in zip(average.parameters(), net.parameters(), strict=True):
        p.data.mul_(0.5).add_(q.data, alpha=0.5)
    return outputs(average)


def averaged_without_grad(net: mupi.PiMLP) -> Tensor:
    average = copy.deepcopy(net)
    loss(net).backward()
    step(net)
    with torch.no_grad():
        for p, q in zip(average.parameters(), net.parameters(), strict=True):
            p.lerp_(q, 0.5)
    return outputs(average)


def copied_parameters(net: mupi.PiMLP) -> Tensor:
    twin = copy.deepcopy(net)
    loss(net).backward()
    step(net)
    with torch.no_grad():
        for p, q in zip(twin.parameters(), net.parameters(), strict=True):
            p.copy_(q)
    return outputs(twin)


def restored_snapshot(net: mupi.PiMLP) -> Tensor:
    kept = [p.detach().clone() for p in net.parameters()]
    loss(net).backward()
    step(net)
    with torch.no_grad():
        for p, q in zip(net.parameters(), kept, strict=True):
            p.copy_(q)
    return outputs(net)


def restored_data(net: mupi.PiMLP) -> Tensor:
    kept = [p.data.clone() for p in net.parameters()]
    loss(net).backward()
    step(net)
    for p, q in zip(net.parameters(), kept, strict=True):
        p.data = q
    return outputs(net)


def as_a_vector(net: mupi.PiMLP) -> Tensor:
    twin = copy.deepcopy(net)
    loss(net).backward()
    step(net)
    vector_to_parameters(parameters_to_vector(net.parameters()), twin.parameters())
    return outputs(twin)


def shared(net: mupi.PiMLP) -> Tensor:
    """A view of the shared memory, as another process has it."""
    net.share_memory()
    other = pickle.loads(bytes(ForkingPickler.dumps(net)))
    loss(net).backward()
    step(net)
    return outputs(other)


def regularised(net: mupi.PiMLP) -> Tensor:
    (loss(net) + 0.1 * sum(p.square().sum() for p in net.parameters())).backward()
    return step(net)


def regularised_norm(net: mupi.PiMLP) -> Tensor:
    return torch.stack([p.norm() for p in net.parameters()]).detach()


def initialised_anew(net: mupi.PiMLP) -> Tensor:
    for p in net.parameters():
        nn.init.zeros_(p)
    return outputs(net)


def test_copies(record):
    ways = {
        "deepcopy": copy.deepcopy,
        "pickle": lambda net: pickle.loads(pickle.dumps(net)),
        "torch.save": through_torch_save,
        "state_dict": through_state_dict,
    }
    for name, make in ways.items():
        compare(record, "copies", name, trained_copy(make))
    for name, options in {
        "mean": {},
        "ema": dict(multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)),
        "function": dict(avg_fn=lambda a, b, n: 0.5 * a + 0.5 * b),
    }.items():
        compare(record, "copies", f"AveragedModel, {name}", averaged(options))
    for name in ("deepcopy", "pickle", "torch.save"):
        for net_first in (True, False):
            case = f"{name} with its optimizer, net first {net_first}"
            compare(record, "copies", case, with_its_optimizer(ways[name], net_first))
    for attack in (
        parameters_alone,
        in_a_queue_to_a_process,
        averaged_by_hand,
        averaged_without_grad,
        copied_parameters,
        restored_snapshot,
        restored_data,
        as_a_vector,
        shared,
        regularised,
        regularised_norm,
        initialised_anew,
    ):
        compare(record, "copies", attack.__name__, attack)


# Processes

WORKER = """
import json, sys
import torch, torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from test_backward import LR, X, Y, is_refusal, network, outputs
import mupi
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
rank, answers = int(sys.argv[3]), {}
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}/store", rank=rank, world_size=2)
ROWS = slice(0, 12) if rank == 0 else slice(12, 24)

def train(net, run, reduce):
    optimizer = mupi.SGD(net.parameters(), lr=LR, clip=0.7)
    for _ in range(3):
        ((run(X[ROWS]) - Y[ROWS]).square().sum() / len(ROWS_ALL) * 2).backward()
        if reduce:
            for p in net.parameters():
                dist.all_reduce(p.grad)
                p.grad /= 2
        optimizer.step()
    return outputs(net).tolist()

ROWS_ALL = range(24)
WAYS = {
    "DistributedDataParallel": lambda net: train(net, DistributedDataParallel(net), False),
    "its views of buckets": lambda net: train(net, DistributedDataParallel(net, gradient_as_bucket_view=True), False),
    "a static graph": lambda net: train(net, DistributedDataParallel(net, static_graph=True), False),
    "gradients reduced by hand": lambda net: train(net, net, True),
}
for kind in ("ordinary", "factored", "atoms"):
    for way, run in WAYS.items():
        try:
            answers[f"{way}, {kind}"] = run(network(kind))
        except Exception as error:
            answers[f"{way}, {kind}"] = "refused" if is_refusal(error) else f"traceback: {error}"
        dist.barrier()
for kind in ("ordinary", "factored", "atoms"):
    net = network(kind)
    try:
        net.input.weight.data.mul_(rank + 1)
        mupi.SGD(net.parameters(), lr=LR).zero_grad()
        for p in net.parameters():
            dist.broadcast(p.data, 0)
        answers[f"parameters broadcast by hand, {kind}"] = outputs(net).tolist()
    except Exception as error:
        answers[f"parameters broadcast by hand, {kind}"] = "refused" if is_refusal(error) else f"traceback: {error}"
    dist.barrier()
print(json.dumps(answers))
"""


def test_processes(record, tmp_path: Path):
    command = [sys.executable, "-W", "ignore", "-c", WORKER, str(Path(__file__).parent), str(tmp_path)]
    workers = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    texts = []
    for worker in workers:
        try:
            texts.append(worker.communicate(timeout=120))
        except subprocess.TimeoutExpired:
            worker.kill()
            texts.append(worker.communicate())
    answers = []
    for text, error in texts:
        if not text.strip():
            print(error[-2000:])
            record("processes", "two processes", "crash")
            return
        answers.append(json.loads(text.strip().splitlines()[-1]))
    start = outputs(network("ordinary"))
    net = network("ordinary")
    optimizer = mupi.SGD(net.parameters(), lr=LR, clip=0.7)
    for _ in range(3):
        loss(net).backward()
        optimizer.step()
    trained = outputs(net)
    for case in answers[0]:
        outcomes = []
        for answer in answers:
            if isinstance(answer[case], str):
                print(case, answer[case][:300])
                outcomes.append(answer[case].split(":")[0])
            else:
                right = start if "broadcast" in case else trained
                outcomes.append(judge(torch.tensor(answer[case], dtype=torch.float64), right))
        record("processes", case, next((o for o in outcomes if o not in ("right", "refused")), outcomes[0]))
