"""Turns what stands for an image into the array that a bundle takes."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fx.deploy.signature import as_array, fits
from fx.upright import upright

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def as_row(image: Any, spec: dict[str, Any]) -> np.ndarray:
    """One row of a batch, from an array of the signature's shape, a file or a PIL image.

    A file or PIL image is turned upright (EXIF), converted to the signature's channels and resized
    as a whole, bilinear with antialiasing, to its height and width; its aspect ratio is not kept.
    An array is taken as it is, and checked.

    Args:
        image: array [H, W, C], path, a file's bytes or a file object, or `PIL.Image.Image`.
        spec: the input as the manifest lists it.

    Raises:
        ImportError: a path was given and Pillow is missing.
        FileNotFoundError: there is no file at the path.
        TypeError: the array's dtype is not the signature's.
        ValueError: the array's shape is not the signature's, the file is a folder, or no image of 8
            bits a channel, or the bundle does not take images.
    """
    shape = spec["shape"][1:]
    if isinstance(image, (str, os.PathLike)):
        return _decode(_open(image), str(image), shape, spec["dtype"])
    if isinstance(image, bytes | bytearray | memoryview):
        image = io.BytesIO(image)
    if callable(getattr(image, "read", None)):
        return _decode(_opened(image, "the file"), "the file", shape, spec["dtype"])
    if hasattr(image, "getbands"):
        return _decode(image, "PIL image", shape, spec["dtype"])
    array = as_array(image, f"predict: expected {spec['dtype']} {shape}")
    if not fits(array.shape, shape):
        like_image = spec["dtype"] == "uint8" and len(shape) == 3
        what, hint = (
            ("image", "resize it, or give a path or a PIL image")
            if like_image
            else ("example", "for a batch call batch_predict")
        )
        raise ValueError(
            f"predict: expected one {what} {spec['dtype']} {shape}, got {array.dtype} "
            f"{list(array.shape)}; {hint}"
        )
    if str(array.dtype) != spec["dtype"]:
        raise TypeError(
            f"predict: expected {spec['dtype']}, got {array.dtype}; convert it: "
            f'np.asarray(x, "{spec["dtype"]}")'
        )
    return array


def _open(path: str | os.PathLike[str]) -> Any:
    _pillow()
    if not os.path.exists(path):
        raise FileNotFoundError(f"no image file at {path}")
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; give the images in it, {path}/*.png say")
    return _opened(path, str(path))


def _opened(file: Any, where: str) -> Any:
    pillow = _pillow()
    try:
        with pillow.open(file) as image:
            image.load()
            return image
    except (OSError, SyntaxError, pillow.DecompressionBombError) as error:
        raise ValueError(f"{where} cannot be read as an image ({error})") from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "reading image files needs Pillow: pip install '.[images]' in fx's folder; "
            "or give arrays"
        ) from error
    return Image


def _decode(image: Any, where: str, shape: Sequence[int], dtype: str) -> np.ndarray:
    from PIL import Image

    if dtype != "uint8" or len(shape) != 3 or shape[2] not in MODES:
        raise ValueError(
            f"predict: the bundle takes {dtype} {['N', *shape]}; only one that takes uint8 "
            "[N, H, W, C] reads image files: export with the preprocessing inside, or give arrays"
        )
    turned = upright(image, MODES[shape[2]], where)
    height, width, channels = (
        n if isinstance(n, int) else size  # an open axis keeps the image's size
        for n, size in zip(shape, (turned.height, turned.width, shape[2]), strict=True)
    )
    resized = turned.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8).reshape(height, width, channels)
