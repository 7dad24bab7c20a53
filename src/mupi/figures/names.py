"""What figures call that which commands name by a short word."""

NAMES = {
    "nngp": "NNGP",
    "ntk": "NTK",
    "unit-nngp": "NNGP, inputs of norm 1",
    "unit-ntk": "NTK, inputs of norm 1",
    "pi-limit": "π-limit",
    "pi-limit-exact": "π-limit, exact",
    "pi-net": "π-net",
    "mu-limit": "μ-limit",
    "mu-net": "μ-net",
    "mlp": "perceptron",
    "cnn": "CNN",
    "cnn-norm": "CNN with LayerNorm",
    "resnet": "ResNet",
    "vit": "ViT",
    "gpt": "GPT",
    "transformer": "Transformer",
    "sgd": "SGD",
    "adamw": "AdamW",
    "muon": "Muon",
    "mup": "μP",
    "standard": "as it comes",
    "microsoft": "microsoft/mup",
    "cifar10": "CIFAR-10",
    "imagenet32": "ImageNet, 32 × 32",
    "omniglot-background": "Omniglot, background alphabets",
    "omniglot-evaluation": "evaluation alphabets",
    "forward": "forward pass",
    "backward": "backward pass",
    "dependence": "W and Wᵀ",
    "rnn": "recurrent network",
    "layer-norm": "LayerNorm",
    "message-passing": "message passing",
    "marchenko-pastur": "Marchenko–Pastur",
    "free": "free independence",
}
"""By the word on the command line; what is not here is called by its word."""


def called(word: str) -> str:
    """The name of what a command calls ``word``."""
    return NAMES.get(word, word)
