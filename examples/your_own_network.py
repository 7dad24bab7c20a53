"""Your own PyTorch networks at infinite width: the π-limit, which learns features, beside kernels and finite networks.

``python examples/your_own_network.py`` takes a minute on scikit-learn's digits, and downloads nothing;
``--dataset cifar10 --train 5000`` takes five thousand images of CIFAR-10.
"""

import argparse
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import mupi
from mupi.data import load
from mupi.kernels import KernelRegression
from mupi.training import Trainer


class Block(nn.Module):
    """x + conv(ReLU(norm(x))): a pre-activation residual block."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        """Its output."""
        h = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv(torch.relu(h)) / 2**0.5


class ResNet(nn.Module):
    """Two blocks on a grid of 4 × 4 positions."""

    def __init__(self, channels: int, side: int, width: int):
        super().__init__()
        stride = side // 4
        self.stem = nn.Conv2d(channels, width, 2 * stride, stride, padding=stride // 2)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        """Logits of images."""
        return self.out(torch.relu(self.blocks(self.stem(x))).mean((2, 3)))


class ViT(nn.Module):
    """One block of attention, with logits q·k/d, and a perceptron, on 16 patches."""

    def __init__(self, channels: int, side: int, width: int):
        super().__init__()
        self.patches = nn.Conv2d(channels, width, side // 4, side // 4)
        self.places = nn.Parameter(torch.zeros(16, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.q, self.k, self.v, self.o, self.up, self.down = (nn.Linear(width, width) for _ in range(6))
        self.out = nn.Linear(16 * width, 10)

    def forward(self, x):
        """Logits of images."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        h = self.norms[0](x)
        attended = nn.functional.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h), scale=1 / h.shape[-1])
        x = x + self.o(attended)
        x = x + self.down(torch.relu(self.up(self.norms[1](x))))
        return self.out(torch.relu(self.norms[2](x)).flatten(1))


def main():
    """Read both networks, train what is trained, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", help="digits or cifar10")
    parser.add_argument("--train", type=int, default=600, help="training images")
    parser.add_argument("--test", type=int, default=2000, help="test images, at most")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = load(args.dataset)
    x, y = data.train_x[: args.train].unflatten(1, data.image_shape), data.train_y[: args.train]
    new, right = data.test_x[: args.test].unflatten(1, data.image_shape), data.test_y[: args.test]
    table = Table("network", "NNGP", "NTK", "finite, n = 128", "π-limit", title=f"{args.dataset}: test accuracy, %")
    for network in (ResNet, ViT):
        arch = mupi.trace(partial(network, *data.image_shape[:2]), x[:2])
        print(f"{network.__name__}\n{arch}\n")
        row = []
        for kernel in (arch.nngp(), arch.ntk()):
            regression = KernelRegression(kernel, ridge=1e-2).fit(x.flatten(1), y, classes=10)
            row.append(regression.score(new.flatten(1), right))
        g = torch.Generator().manual_seed(args.seed)
        finite, limit = arch.finite(128, generator=g), arch.pi(rank=32, generator=g)
        rates = finite.parametrization.adam_rates
        for net, groups in ((finite, finite.parameter_groups(0.3, rates=rates)), (limit, limit.parameter_groups(0.02))):
            optimizer = torch.optim.Adam(groups)
            schedule = CosineAnnealingLR(optimizer, args.epochs)
            trainer = Trainer(net, optimizer, batch_size=16, schedule=schedule, generator=g)
            row.append(trainer.fit((x, y), epochs=args.epochs, test=(new, right))[-1].test_accuracy)
        table.add_row(network.__name__, *(f"{100 * accuracy:.1f}" for accuracy in row))
    Console().print(table)


if __name__ == "__main__":
    main()
