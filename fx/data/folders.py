"""Data on disk: folders of images, and memory-mapped arrays."""

from __future__ import annotations

import dataclasses
import functools
import os
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fx.data.collate import stack
from fx.data.dataset import Dataset
from fx.upright import upright

# torchvision's list.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def memory_mapped(inputs: Any, targets: Any, classes: tuple[str, ...] = ()) -> Dataset:
    """Open `.npy` files as a data set that stays on disk until its rows are read.

    Args:
        inputs: the path of a file with an array `[N, ...]`, or a tuple or dict of paths.
        targets: likewise.
        classes: the names of the labels.

    Returns:
        A `Dataset` of `np.memmap`. `random_split` and `subset` make views of it, which copy
        nothing.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not of this format, is truncated, or holds Python objects; the
            arrays differ in their number of examples.

    Example:
        >>> np.save("x.npy", np.zeros((5, 2), np.float32))
        >>> np.save("y.npy", np.arange(5))
        >>> len(memory_mapped("x.npy", "y.npy"))
        5
    """
    inputs, targets = jax.tree.map(_open, (inputs, targets))
    return Dataset(inputs, targets, classes)


def _open(path: Any) -> np.ndarray:
    if not Path(path).is_file():
        raise FileNotFoundError(f"memory_mapped: expected the file {path}, and there is none")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"memory_mapped: {path} cannot be mapped: {error}; it has to be one array, written "
            "with np.save, and whole"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"memory_mapped: expected {path} to be one array (.npy), got an archive; write its "
            "arrays to files of their own with np.save"
        )
    return array


def image_folder(
    root: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    mode: str = "RGB",
) -> ImageFolder:
    """Read a folder of images as torchvision's `ImageFolder` does: a folder for each class.

    Files are decoded when they are wanted, on the loader's threads: give it `workers=`.

    Args:
        root: the folder with `class/.../image.png` in it. The classes are its folders' names,
            sorted, but for those that begin with a dot; files are sorted by their paths.
        size: None where all images are of one size; height and width, to which images are
            resized; or one number for square images: the shorter side is resized to it, and the
            middle is cut out. Bilinear, antialiased, as Pillow does it.
        mode: Pillow's: "RGB", or "L" for one channel.

    Returns:
        A source of uint8 images `[H, W, C]` and int32 labels.

    Raises:
        FileNotFoundError: there is no such folder, no class in it, or a class without images.
        ValueError: `mode` or `size` is something else; when read, a file cannot be decoded, or
            images differ in size and `size` is None.
        ImportError: Pillow is missing.

    Example:
        >>> from PIL import Image
        >>> for name in ("cat", "dog"):
        ...     Path("pets", name).mkdir(parents=True)
        ...     Image.new("RGB", (20, 10), "red").save(f"pets/{name}/1.png")
        >>> pets = image_folder("pets", size=8)
        >>> pets.classes, pets.take(np.array([1]))[0].shape
        (('cat', 'dog'), (1, 8, 8, 3))

    Source:
        `torchvision.datasets.ImageFolder`, with `Resize` and `CenterCrop`; a batch has one size,
        and images are turned upright (EXIF), as bundles do with the files they are given.
    """
    if mode not in ("RGB", "L"):
        raise ValueError(f'image_folder: expected mode "RGB" or "L", got {mode!r}')
    if size is not None and (
        min(size if isinstance(size, tuple) else (size,)) < 1
        or (isinstance(size, tuple) and len(size) != 2)
    ):
        raise ValueError(f"image_folder: expected size (height, width) of 1 or more, got {size}")
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "image_folder: decoding images needs Pillow, which is not installed; "
            "pip install '.[images]' in fx's folder"
        ) from error
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"image_folder: expected the folder {root}, and there is none")
    folders = [each.name for each in root.iterdir() if each.is_dir()]
    classes = tuple(sorted(name for name in folders if not name.startswith(".")))
    if not classes:
        raise FileNotFoundError(
            f"image_folder: expected a folder for each class in {root}, and there is none"
        )
    files, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(
            path.relative_to(root).as_posix()
            for path in (root / name).rglob("*")
            if path.suffix.lower() in EXTENSIONS and path.is_file()
        )
        if not found:
            raise FileNotFoundError(
                f"image_folder: expected images in {root / name}, and there is none with an "
                f"ending of {', '.join(EXTENSIONS)}"
            )
        files += found
        labels += [label] * len(found)
    return ImageFolder(root, tuple(files), np.array(labels, np.int32), classes, size, mode)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFolder:
    """Image files with labels; `image_folder` makes it.

    Attributes:
        root: the folder.
        files: paths within it.
        targets: int32 `[N]`.
        classes: the names of the labels.
        size: as for `image_folder`.
        mode: likewise.
    """

    root: Path
    files: tuple[str, ...]
    targets: np.ndarray
    classes: tuple[str, ...]
    size: int | tuple[int, int] | None
    mode: str

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}, {len(self)} images, {len(self.classes)} classes)"

    def describe(self, row: int) -> str:
        """Return the file of a row."""
        return str(self.root / self.files[row])

    def example(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image `[H, W, C]` and the label of a row."""
        from PIL import Image

        path = self.root / self.files[row]
        try:
            with Image.open(path) as image:
                pixels = np.asarray(_resize(upright(image, self.mode, "it"), self.size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"image_folder: {path} cannot be decoded: {error}; where the file is damaged or no "
                "image, replace or remove it"
            ) from error
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        if self.size is None and pixels.shape != self._shape:
            raise ValueError(
                f"image_folder: expected images of one size, got {list(self._shape)} in "
                f"{self.files[0]} and {list(pixels.shape)} in {self.files[row]}; give size="
            )
        return pixels, self.targets[row]

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels of the rows, int of any shape."""
        rows = np.asarray(rows)
        images, labels = stack([self.example(row) for row in rows.ravel().tolist()])
        return images.reshape(*rows.shape, *images.shape[1:]), labels.reshape(rows.shape)

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits of the files' names, how they are read, and their sizes.

        The sizes are those of at most 64 files, evenly spaced.
        """
        crc = zlib.crc32("\n".join([*self.files, repr(self.size), self.mode]).encode())
        count = min(len(self), 64)
        for i in range(count):
            path = self.root / self.files[i * len(self) // count]
            crc = zlib.crc32(str(path.stat().st_size).encode(), crc)
        return f"{crc:08x}"

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        from PIL import Image

        with Image.open(self.root / self.files[0]) as image:
            width, height = upright(image, self.mode, "it").size
            return (height, width, len(self.mode))


def _resize(image: Any, size: int | tuple[int, int] | None) -> Any:
    from PIL import Image

    if size is None:
        return image
    if isinstance(size, tuple):
        return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    width, height = (size * side // min(image.size) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))
