"""Modules as people write them, to be traced."""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


def perceptron(width, d_in=7, d_out=3):
    return nn.Sequential(nn.Linear(d_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, d_out))


class Cnn(nn.Module):
    """Convolutions with strides and blocks that are averaged; flattened, or the mean over positions."""

    def __init__(self, width, flat=False, mode="zeros"):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv2d(3, width, 3, stride=2, padding=1, padding_mode=mode),
            nn.Conv2d(width, width, 3, padding=1, padding_mode=mode),
            nn.Linear(width * 4 if flat else width, 10),
        ])  # fmt: skip
        self.flat = flat

    def forward(self, x):
        x = F.relu(self.layers[0](x))
        x = F.relu(self.layers[1](F.avg_pool2d(x, 2)), inplace=True)
        x = x.flatten(1) if self.flat else F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.layers[2](x)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PreActBlock(nn.Module):
    """torchvision's BasicBlock in the order of He et al. (2016), with normalization over channels."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(c_in), ChannelNorm(c_out)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False)

    def forward(self, x):
        out = self.relu(self.norm1(x))
        identity = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        out = self.conv2(self.relu(self.norm2(out)))
        out += identity
        return out


class PreActResNet(nn.Module):
    def __init__(self, width, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(PreActBlock(width, width, 1), PreActBlock(width, width, 1))
        self.layer2 = nn.Sequential(PreActBlock(width, 2 * width, 2))
        self.norm = ChannelNorm(2 * width)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.layer2(self.layer1(self.conv1(x)))
        x = F.adaptive_avg_pool2d(F.relu(self.norm(x)), (1, 1))
        return self.fc(torch.flatten(x, 1))


class CausalSelfAttention(nn.Module):
    """nanoGPT's."""

    def __init__(self, width, heads, block_size, flash):
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.resid_dropout = nn.Dropout(0.1)
        self.n_head, self.n_embd, self.flash = heads, width, flash
        self.register_buffer("bias", torch.tril(torch.ones(block_size, block_size)).view(1, 1, block_size, block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / sqrt(k.size(-1)))
            att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
            y = F.softmax(att, dim=-1) @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class GptBlock(nn.Module):
    def __init__(self, width, heads, block_size, flash):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = CausalSelfAttention(width, heads, block_size, flash)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))


class Gpt(nn.Module):
    """nanoGPT: tokens and learned positions, fused q, k, v, and the readout tied to the embedding."""

    def __init__(self, width, vocabulary=11, block_size=16, depth=1, heads=4, flash=True, tied=True):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocabulary, width),
            "wpe": nn.Embedding(block_size, width),
            "drop": nn.Dropout(0.1),
            "h": nn.ModuleList([GptBlock(width, heads, block_size, flash) for _ in range(depth)]),
            "ln_f": nn.LayerNorm(width, bias=False),
        })  # fmt: skip
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx):
        _, t = idx.size()
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(pos))
        for block in self.transformer.h:
            x = block(x)
        return self.lm_head(self.transformer.ln_f(x))


class Encoder(nn.Module):
    """nn.TransformerEncoder on vectors."""

    def __init__(self, width, norm_first=True, activation="gelu", batch_first=True, causal=False):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, norm_first=norm_first, activation=activation, batch_first=batch_first
        )
        self.embed = nn.Linear(5, width)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.readout = nn.Linear(width, 2)
        self.batch_first, self.causal = batch_first, causal

    def forward(self, x):
        x = self.embed(x)
        x = x if self.batch_first else x.transpose(0, 1)
        mask = (
            nn.Transformer.generate_square_subsequent_mask(x.shape[1 - (not self.batch_first)]) if self.causal else None
        )
        x = self.encoder(x, mask=mask, is_causal=self.causal)
        return self.readout(x.mean(1 if self.batch_first else 0))


class Vit(nn.Module):
    """Patches by a convolution, a class token or the mean, nn.MultiheadAttention."""

    def __init__(self, width, token=True, patch=2):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if token else None
        self.positions = nn.Parameter(torch.randn(1, 16 + token, width) * 0.02)
        self.norm1, self.norm2, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.positions
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = self.norm(x + self.mlp(self.norm2(x)))
        return self.head(x[:, 0] if self.token is not None else x.mean(1))


class RMSNorm(nn.Module):
    """LLaMA's."""

    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)).type_as(x)


class SwiGlu(nn.Module):
    """A residual block with LLaMA's feed-forward layer; the gate fused with what it gates, or not."""

    def __init__(self, width, fused=False):
        super().__init__()
        self.embed, self.norm = nn.Linear(6, width), RMSNorm(width)
        self.fused = fused
        if fused:
            self.w13 = nn.Linear(width, 4 * width, bias=False)
        else:
            self.w1, self.w3 = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.w2, self.out = nn.Linear(2 * width, width, bias=False), nn.Linear(width, 3)

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        a, b = self.w13(y).chunk(2, dim=-1) if self.fused else (self.w1(y), self.w3(y))
        return self.out(x + self.w2(F.silu(a) * b))


class MupBlock(nn.Module):
    """A pre-norm block in μP's conventions: logits ⟨q, k⟩/d, branches scaled by 1/√(number of branches)."""

    def __init__(self, width, heads, causal, scale, bias, gated):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=0.0, elementwise_affine=False)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=bias) for _ in range(4))
        self.up = nn.Linear(width, 4 * width, bias=bias)
        self.gate = nn.Linear(width, 4 * width, bias=bias) if gated else None
        self.down = nn.Linear(4 * width, width, bias=bias)
        self.heads, self.causal, self.scale = heads, causal, scale

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (w(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, scale=1 / q.shape[-1])
        x = x + self.scale * self.out(y.transpose(1, 2).flatten(2))
        y = self.norm(x)
        h = F.gelu(self.up(y))
        h = h if self.gate is None else h * self.gate(y)
        return x + self.scale * self.down(h)


class MupGpt(nn.Module):
    def __init__(self, width, vocabulary, length, depth, heads, gated=False):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        scale = (2 * depth) ** -0.5
        self.blocks = nn.ModuleList([MupBlock(width, heads, True, scale, False, gated) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=0.0, elementwise_affine=False)
        self.out = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x):
        x = self.tokens(x) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


class MupVit(nn.Module):
    def __init__(self, width, patch, length, heads, gated=False):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.block = MupBlock(width, heads, False, 2**-0.5, True, gated)
        self.norm = nn.LayerNorm(width, eps=0.0, elementwise_affine=False)
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.out(self.norm(self.block(x)).mean(1))
