"""A folder of images: those of each class in a folder of its name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mupi.checks import fail
from mupi.data.own.raw import Raw, RawImages
from mupi.data.own.wanted import Wanted, refuse_columns
from mupi.extras import require
from mupi.kernels.memory import available_memory, require_memory

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def read_folder(folder: Path, wanted: Wanted) -> Raw:
    """All images below a folder; the folder that each is in is its class, if there are such folders.

    Args:
        folder: With a folder for each class, or with images.
        wanted: Says whether images are scaled.

    Raises:
        ValueError: If there are no images, folders in folders, images of other sizes, or files that are none.
    """
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in visible if path.is_dir()]
    found = [path for path in visible if path.is_file()]
    if folders and any(path.suffix.lower() in SUFFIXES for path in found):
        must = "a folder of images, or of folders of them, one a class"
        fail(wanted.argument, must, f"`{folder}` with images and with folders such as `{folders[0].name}`")
    for one in folders:
        inside = sorted(path for path in one.iterdir() if not path.name.startswith("."))
        if deeper := [path for path in inside if path.is_dir()]:
            must = f"a folder with one folder of images a class; `{one.name}` has folders in it, `{deeper[0].name}`"
            fail(
                wanted.argument,
                must,
                f"`{folder}`",
                f"name `{one}` if these are the classes, and other parts with --test",
            )
        found += inside
    images = [path for path in found if path.suffix.lower() in SUFFIXES]
    if not images:
        fail(wanted.argument, f"a folder with images ({' '.join(sorted(SUFFIXES))})", f"`{folder}` with none")
    empty = [one.name for one in folders if not any(path.parent == one for path in images)]
    if empty:
        fail(wanted.argument, "a folder with images of each class", f"`{folder}` with none in `{empty[0]}`")
    refuse_columns(wanted, str(folder), "class")
    if not folders and wanted.only is None:
        fail(wanted.argument, "a folder with a folder of images for each class", f"`{folder}` with images only")
    pixels = load_images(images, wanted)
    target = np.array([path.parent.name for path in images]) if folders else None
    names = tuple(str(path.relative_to(folder)) for path in images)
    raw = Raw(str(folder), RawImages(pixels, names), target, "class")
    others = [path.name for path in found if path.suffix.lower() not in SUFFIXES]
    return raw.noted(f"{len(others)} files are no images, such as {others[0]}") if others else raw


def load_images(paths: Sequence[Path], wanted: Wanted) -> np.ndarray:
    """Images (n, channels, height, width) of bytes: one channel if all are gray, else red, green and blue.

    Raises:
        ValueError: If one is damaged, has transparent pixels or more than 8 bits, or another size than the first.
    """
    require("PIL", "a folder of images")
    from PIL import Image, UnidentifiedImageError

    opened = []
    for path in paths:
        try:
            with Image.open(path) as image:
                opened.append(as_pixels(image, str(path), wanted))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, FileNotFoundError | PermissionError) or str(error).startswith("`"):
                raise
            fail(
                wanted.argument,
                "a folder of images that can be read",
                f"`{path}` ({' '.join(str(error).split())[:200]})",
            )
        if len(opened) == 1:
            needed = 9 * len(paths) * 3 * opened[0].shape[0] * opened[0].shape[1]
            available = available_memory(torch.device("cpu"))
            require_memory(wanted.argument, needed, available, "scale images with --image-size, or take fewer")
    return stacked(opened, [str(path) for path in paths], wanted.argument)


def as_pixels(image: object, name: str, wanted: Wanted) -> np.ndarray:
    """One of Pillow's images as bytes (height, width), or (height, width, 3).

    Raises:
        ValueError: If it has transparent pixels, or more than 8 bits.
    """
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode not in ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr"):
        fail(wanted.argument, "of images with 8 bits a channel", f"`{name}` of mode {image.mode}", "convert it first")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            fail(wanted.argument, "of images without transparent pixels", f"`{name}`", "lay it on a background first")
        image = image.convert("RGBA").convert("L" if image.mode == "LA" else "RGB")
    gray = image.mode in ("1", "L")
    image = image.convert("L" if gray else "RGB")
    return np.asarray(
        image if wanted.size is None else image.resize((wanted.size, wanted.size), Image.Resampling.BILINEAR), np.uint8
    )


def stacked(images: Sequence[np.ndarray], names: Sequence[str], argument: str) -> np.ndarray:
    """Images of one size as one array; gray ones among others in color get three equal channels.

    Raises:
        ValueError: If sizes differ.
    """
    first = images[0].shape[:2]
    for image, name in zip(images, names, strict=True):
        if image.shape[:2] != first:
            got = f"`{names[0]}` of {first[1]}×{first[0]} and `{name}` of {image.shape[1]}×{image.shape[0]}"
            fail(argument, "of images of one size", got, "scale them with --image-size 32, say")
    if any(image.ndim == 3 for image in images):
        color = [image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in images]
        return np.ascontiguousarray(np.stack(color).transpose(0, 3, 1, 2))
    return np.stack(images)[:, None]
