"""The pixels of an image file, the same where a model is trained and where a bundle serves it."""

from typing import Any


def upright(image: Any, mode: str, where: str) -> Any:
    """The image as the camera was held (EXIF), in Pillow's `mode`.

    Args:
        image: a `PIL.Image.Image`.
        mode: "L", "RGB" or "RGBA".
        where: what the image is called in the error.

    Raises:
        ValueError: it has more than 8 bits a channel.
    """
    from PIL import ExifTags, ImageOps

    if image.mode.startswith(("I", "F")):  # Pillow would clip these to 8 bits, not scale them
        raise ValueError(
            f"{where} has mode {image.mode}, more than 8 bits a channel; scale it to 8 bits first"
        )
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1  # a copy for those alone
    return (ImageOps.exif_transpose(image) if turned else image).convert(mode)
