"""Images as networks take them: flattened, as data sets have them, or with their axes."""

from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail, finite, positive_int

ImageShape = tuple[int, int, int]
"""Channels, height and width."""


def check_image_shape(argument: str, shape: ImageShape) -> None:
    """Raise ``ValueError`` unless these are three positive integers."""
    if len(shape) != 3:
        fail(argument, "(channels, height, width)", shape)
    for name, size in zip(("channels", "height", "width"), shape, strict=True):
        positive_int(f"{argument} {name}", size)


def as_images(x: Float[Tensor, "batch ..."], shape: ImageShape) -> Float[Tensor, "batch channels height width"]:
    """``x`` with the axes of an image, flattened or not.

    Raises:
        ValueError: If ``x`` has other sizes, another kind of dtype, or a NaN or infinity.
    """
    c, h, w = shape
    if tuple(x.shape[1:]) not in ((c, h, w), (c * h * w,)):
        fail("x", f"of shape (batch, {c}, {h}, {w}) or (batch, {c * h * w})", f"shape {tuple(x.shape)}")
    if not x.is_floating_point():
        fail("x", "of a floating dtype", x.dtype, "use x.float()")
    finite("x", x)
    return x.reshape(-1, *shape)
