"""What a feature map (`Features` and its `Weight`) has to be, each promise a test."""

import copy
import pickle
from itertools import pairwise

import torch
from torch import Tensor

from mupi.activations import GELU, Activation, Tanh
from mupi.activations.hermite_polynomials import gauss_hermite
from mupi.conventions import OtherConvention
from mupi.features import AveragePool, Expansion, Features, Weight, gram
from mupi.features.gate import outputs
from mupi.layers import PiLinear, layer_error
from mupi.optim import SGD, gradient_norm
from mupi.testing.closeness import assert_close, assert_equal


class FeatureMapContract:
    """Tests of one feature map: write `features` in a subclass, and the exceptions below where it has them.

    Attributes:
        error: By how much of its largest entry the kernel may be off κ_φ, on Gaussian vectors of norm about 1: 0 for
            an exact map, 1/√n for one of n random features.
        samples: Whether `Weight.at_neurons` gives the weight of finite networks; if not, it must refuse.
        transforms: Whether `torch.func` differentiates by the weight's parameters; if not, it must refuse.
        rank_in: r of the layer's input.
        rank_out: r of its output.
    """

    error: float = 0.0
    samples: bool = True
    transforms: bool = True
    rank_in: int = 4
    rank_out: int = 3

    def features(self) -> Features:
        """The feature map to test."""
        raise NotImplementedError

    def activation(self) -> Activation:
        """φ of the layer: a smooth one, whose expectations the oracles know to all digits."""
        return GELU()

    # What is asked of

    def initial(self, dtype: torch.dtype = torch.float64) -> Expansion:
        """Five atoms."""
        c, a, b = _randn(5, 1, seed=1)[:, 0], _randn(5, self.rank_out, seed=2), _randn(5, self.rank_in, seed=3) / 2
        return Expansion(c, a, b).to(dtype)

    def layer(self, dtype: torch.dtype = torch.float64, activation: Activation | None = None) -> PiLinear:
        """A layer without a bias, that starts as `initial`."""
        return PiLinear(
            self.rank_in,
            self.rank_out,
            features=self.features(),
            activation=activation or self.activation(),
            bias=False,
            initial=self.initial(),
            generator=torch.Generator().manual_seed(0),
            dtype=dtype,
        )

    def inputs(self, n: int = 6, seed: int = 0) -> Tensor:
        """Rows of norm about 1."""
        return _randn(n, self.rank_in, seed=seed) / 2

    def trained(self, steps: int = 3) -> PiLinear:
        """A layer after steps of `mupi.SGD`, directions and whatever else it has in use."""
        layer = self.layer()
        optimizer = SGD(layer.parameters(), lr=0.1, clip=1.0)
        for seed in range(steps):
            _loss(layer, self.inputs(seed=seed)).backward()
            optimizer.step()
        return layer

    # The kernel

    def test_the_kernel_is_near_the_exact_one(self):
        """κ_φ(b, g) one pair at a time, to `error`; and `feature_kernel` likewise."""
        weight, g, b = self.layer().weight, self.inputs(), self.inputs(4, seed=9)
        φ, rows = self.activation(), []
        for x in g:
            rows.append([float(φ.dual(*(t.reshape(1) for t in (x @ x, x @ y, y @ y)))) for y in b])
        exact = torch.tensor(rows, dtype=torch.float64)
        for kernel in (weight.kernel, weight.feature_kernel):
            assert_close(kernel(g, b), exact, rtol=max(self.error, 1e-12))

    def test_the_kernel_is_symmetric_and_positive(self):
        """An inner product ⟨ψ(g), ψ(g')⟩."""
        kernel = self.layer().weight.kernel(self.inputs(12), self.inputs(12))
        assert_close(kernel, kernel.T)
        assert torch.linalg.eigvalsh(kernel).min() > -1e-12 * kernel.diagonal().max()

    def test_the_layer_is_the_sum_of_its_initial_atoms_under_the_kernel(self):
        """Σ_m c_m a_m ⟨ψ(b_m), ψ(g)⟩ by a loop."""
        layer, atoms, g = self.layer(), self.initial(), self.inputs()
        total = torch.zeros(len(g), self.rank_out, dtype=torch.float64)
        for c, a, b in zip(atoms.c, atoms.a, atoms.b, strict=True):
            total += c * layer.weight.kernel(g, b[None]) * a
        assert_close(layer(g), total, rtol=1e-12)

    def test_no_initial_atoms_give_the_zero_function(self):
        """And shapes tell the ranks."""
        none = torch.zeros(0, dtype=torch.float64)
        initial = Expansion(none, none.reshape(0, self.rank_out), none.reshape(0, self.rank_in))
        weight = self.features().weight(initial, self.activation(), torch.Generator().manual_seed(0))
        assert (weight.rank_in, weight.rank_out) == (self.rank_in, self.rank_out)
        assert_equal(weight(self.inputs()), torch.zeros(6, self.rank_out, dtype=torch.float64))

    # Gradients and steps

    def test_the_input_gradient_is_that_of_the_layer(self):
        """`torch.autograd.gradcheck`, in evaluation mode."""
        layer = self.layer().eval()
        assert torch.autograd.gradcheck(layer, (self.inputs(3).requires_grad_(),))

    def test_a_step_adds_the_kernels_of_its_samples(self):
        """f − η Σ_i δ_i ⟨ψ(g_i), ψ(·)⟩, the step of SGD in feature space; `initial` and one more batch."""
        layer, g, other, lr = self.layer(), self.inputs(), self.inputs(5, seed=7), 0.3
        kernel = layer.weight.kernel(other, g).detach()
        before, out = layer(other).detach(), layer(g)
        delta = torch.autograd.grad(out.square().sum(), out, retain_graph=True)[0]
        out.square().sum().backward()
        SGD(layer.parameters(), lr=lr).step()
        assert_close(layer.eval()(other), before - lr * kernel @ delta, rtol=1e-11)

    def test_the_gradient_s_norm_is_that_of_feature_space(self):
        """(Σ_ij δ_i·δ_j ⟨ψ(g_i), ψ(g_j)⟩)^{1/2}, by which `mupi.SGD` clips."""
        layer, g = self.layer(), self.inputs()
        kernel, out = layer.weight.kernel(g, g).detach(), layer(g)
        out.square().sum().backward()
        delta = 2 * out.detach()
        (parameter,) = layer.parameters()
        assert_close(gradient_norm(parameter), ((delta @ delta.T) * kernel).sum().sqrt(), rtol=1e-11)

    def test_evaluation_changes_nothing(self):
        """Neither without gradients, nor for those of the inputs."""
        layer = self.trained().eval()
        before = copy.deepcopy(layer.state_dict())
        with torch.no_grad():
            layer(self.inputs(seed=20))
        layer(self.inputs(seed=21).requires_grad_())
        for key, value in layer.state_dict().items():
            assert_equal(value, before[key])

    # Copies

    def test_a_state_dict_gives_the_function_back_and_training_goes_on(self):
        """Into a layer of other values, through a file's bytes."""
        layer, twin = self.trained(), self.layer()
        twin.load_state_dict(pickle.loads(pickle.dumps(layer.state_dict())))
        self._alike(layer, twin)

    def test_copies_are_the_same_function_and_train_apart(self):
        """`copy.deepcopy` and `pickle`."""
        layer = self.trained()
        kept = layer.eval()(self.inputs(seed=30)).detach()
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            self._step(twin)
            assert_equal(layer(self.inputs(seed=30)), kept)
            assert not torch.equal(twin.eval()(self.inputs(seed=30)), kept)
        self._alike(layer, copy.deepcopy(layer))

    def test_a_state_dict_of_another_activation_is_refused(self):
        """By `mupi.conventions`: the same numbers would be another function."""
        try:
            self.layer(activation=Tanh()).load_state_dict(self.layer().state_dict())
        except OtherConvention:
            return
        raise AssertionError("loaded")

    def test_the_feature_map_is_a_value(self):
        """Equal by its arguments, and says what it is."""
        assert self.features() == self.features() and hash(self.features()) == hash(copy.deepcopy(self.features()))
        assert self.layer().weight.feature_map == self.layer().weight.feature_map

    # Tensors

    def test_leading_axes_are_batches_and_empty_ones_are_taken(self):
        """Also no input at all."""
        layer, g = self.layer().eval(), self.inputs(6)
        assert_close(layer(g.reshape(2, 3, -1)).reshape(6, -1), layer(g), rtol=1e-12)
        assert_close(layer(g[0]), layer(g)[0], rtol=1e-12)
        for shape in ((0,), (2, 0)):
            assert layer(g.new_zeros(*shape, self.rank_in)).shape == (*shape, self.rank_out)

    def test_float32_is_float64_to_its_rounding(self):
        """Built in float32, and moved there; outputs keep the dtype."""
        exact, g = self.layer().eval(), self.inputs()
        for layer in (self.layer(torch.float32).eval(), self.layer().float().eval()):
            out = layer(g.float())
            assert out.dtype == torch.float32
            assert_close(out, exact(g), rtol=2e-5)

    def test_the_value_at_a_zero_vector_is_the_limit_and_its_gradient_finite(self):
        """In either dtype."""
        for dtype in (torch.float32, torch.float64):
            layer, zero = self.layer(dtype).eval(), torch.zeros(1, self.rank_in, dtype=dtype, requires_grad=True)
            out = layer(zero)
            assert_close(out, layer(torch.full_like(zero, 1e-6)), rtol=1e-3, scale=1.0)
            assert torch.isfinite(torch.autograd.grad(out.sum(), zero)[0]).all()

    def test_pooling_is_of_the_layer_s_outputs(self):
        """`Weight.pooled`, which may pool before the product."""
        layer, g = self.layer().eval(), self.inputs(2 * 4 * 6).reshape(2, 4, 6, -1)
        assert_close(layer(g, AveragePool(2, 3)), AveragePool(2, 3)(layer(g)), rtol=1e-12)

    # Readings

    def test_neurons_have_the_layer_s_function_as_their_mean(self):
        """E_z w(z) φ(⟨g, z⟩) = C ψ(g), over z by Gauss–Hermite quadrature; or `at_neurons` refuses."""
        weight, g = self._plane(), self.inputs()[:, :2]
        x, w = gauss_hermite(48)
        z = torch.cartesian_prod(x, x)
        try:
            neurons = weight.at_neurons(z) * len(z) ** 0.5
        except ValueError:
            assert not self.samples, "it refuses to sample"
            return
        mean = (outputs(weight.activation, g, z) * torch.outer(w, w).reshape(-1)) @ neurons
        assert_close(mean, weight(g), rtol=1e-8)

    def test_the_reported_error_is_that_of_the_sum_of_its_atoms(self):
        """`mupi.layers.layer_error`, by κ_φ and by the kernel of the features on the same atoms."""
        layer, g = self.trained(), self.inputs(8, seed=40)
        atoms, report = layer.weight.sample_atoms(), layer_error("layer", layer.weight, g)
        if atoms is None:
            assert report.output == report.gradient == 0
            return
        weights = atoms.c[:, None] * atoms.a
        exact = self.activation().dual(*gram(atoms.b, g)) @ weights
        near = layer.weight.kernel(g, atoms.b) @ weights
        assert abs(report.output - float((near - exact).norm() / exact.norm())) < 1e-9
        assert report.atoms == len(atoms)

    def test_transforms_differentiate_by_the_weight(self):
        """`torch.func.functional_call`, with `vmap` over samples; or they are refused, never wrong."""
        layer, g = self.layer().eval(), self.inputs()
        parameters = {name: p.detach() for name, p in layer.named_parameters()}

        def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
            out = torch.func.functional_call(layer, parameters, (row,))
            assert isinstance(out, Tensor)
            return out.square().sum()

        try:
            single = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, g)
        except (TypeError, RuntimeError):
            assert not self.transforms, "transforms are refused"
            return
        expected = torch.autograd.grad(_loss(layer, g), list(layer.parameters()))
        for value, gradient in zip(single.values(), expected, strict=True):
            assert_close(value.sum(0), gradient)

    def _plane(self) -> Weight:
        """A weight of the same kind that reads a junction of rank 2."""
        atoms = self.initial()
        initial = Expansion(atoms.c, atoms.a, atoms.b[:, :2].contiguous())
        return self.features().weight(initial, self.activation(), torch.Generator().manual_seed(0)).eval()

    def _step(self, layer: PiLinear) -> None:
        _loss(layer.train(), self.inputs(seed=31)).backward()
        SGD(layer.parameters(), lr=0.1).step()

    def _alike(self, layer: PiLinear, twin: PiLinear) -> None:
        """The same bits, now and after further steps."""
        for _ in range(2):
            outputs = [net.eval()(self.inputs(seed=32)).detach() for net in (layer, twin)]
            for one, other in pairwise(outputs):
                assert_equal(one, other)
            for net in (layer, twin):
                self._step(net)


def _loss(layer: PiLinear, g: Tensor) -> Tensor:
    return layer(g).square().sum()


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
