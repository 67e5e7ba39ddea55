"""The data set: host arrays that share their first axis."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

_CHUNK_BYTES = 2**19  # statistics() widens to float64; such a chunk stays in the cache
_PRINT_ROWS, _PRINT_BYTES, _WHOLE_BYTES = 64, 2**24, 2**22  # of each array; a few milliseconds


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples at rest on the host, as their source has them.

    Args:
        inputs: an array, or a tuple or dict of arrays, each `[N, ...]`. Images are uint8
            `[N, H, W, C]`; converting and moving the channel axis is the transforms' work, on the
            device. A `np.memmap` stays on disk until its rows are read.
        targets: an array, or a tuple or dict of arrays, each `[N, ...]`. Class labels are
            int32 `[N]`. None where there are none: a step's loss then gets the inputs, as they go
            into the model, in their place.
        classes: the names of the labels; empty where there are none.

    Raises:
        TypeError: a leaf is not a NumPy array.
        ValueError: there are no examples, or the arrays differ in their number of examples.

    Example:
        >>> data = Dataset(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int32))
        >>> data
        Dataset(inputs=uint8[4,8,8,3], targets=int32[4], classes=0)
        >>> len(data)
        4
    """

    inputs: Any
    targets: Any = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        leaves = self.leaves()
        for name, leaf in leaves.items():
            if not isinstance(leaf, np.ndarray) or leaf.ndim == 0:
                raise TypeError(
                    f"Dataset: expected {name} to be a NumPy array [N, ...], got "
                    f"{type(leaf).__name__}; convert it with np.asarray"
                )
        lengths = {name: len(leaf) for name, leaf in leaves.items()}
        if not lengths or 0 in lengths.values():
            raise ValueError(
                f"Dataset: expected at least one example, got {lengths or 'no arrays'}; "
                "check the source or the split that it came from"
            )
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"Dataset: expected arrays of one length, got {lengths}; "
                "every array's first axis counts the examples"
            )

    def __len__(self) -> int:
        return len(jax.tree.leaves((self.inputs, self.targets))[0])

    def __repr__(self) -> str:
        inputs, targets = (_brief(tree) for tree in (self.inputs, self.targets))
        return f"Dataset(inputs={inputs}, targets={targets}, classes={len(self.classes)})"

    def leaves(self) -> dict[str, np.ndarray]:
        """Return the arrays by name: "inputs", "targets", or with their place, "inputs['a']"."""
        paths = jax.tree.leaves_with_path({"inputs": self.inputs, "targets": self.targets})
        return {_name(path): leaf for path, leaf in paths}

    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that another data set most probably has not.

        It is the CRC-32 of the names, dtypes and shapes of the arrays, of all of those of at most
        4 MiB (labels, most often), and of at most 64 rows, evenly spaced, of larger and
        memory-mapped ones, so that it is cheap for these too. It is to notice a mix-up, not a
        change of a few examples.
        """
        crc = 0
        for name, leaf in self.leaves().items():
            most = max(1, _PRINT_BYTES // max(1, leaf[0].nbytes))
            count = min(len(leaf), _PRINT_ROWS, most)
            if leaf.nbytes <= _WHOLE_BYTES and not isinstance(leaf, np.memmap):
                count = len(leaf)
            crc = zlib.crc32(f"{name} {leaf.dtype.str} {leaf.shape}".encode(), crc)
            crc = zlib.crc32(leaf[np.arange(count) * len(leaf) // count].tobytes(), crc)
        return f"{crc:08x}"

    def take(self, indices: np.ndarray) -> tuple[Any, Any]:
        """Return the `(inputs, targets)` of the rows `indices`.

        Args:
            indices: int array of any shape `S`.

        Returns:
            The two trees, each leaf `[*S, ...]`, copied.
        """
        return jax.tree.map(lambda leaf: leaf[indices], (self.inputs, self.targets))

    def subset(self, indices: ArrayLike) -> Dataset:
        """Return a data set of the rows `indices` (int `[M]`), copied, in that order.

        Raises:
            ValueError: `indices` is empty.
        """
        indices = np.asarray(indices)
        if not indices.size:
            raise ValueError(
                "Dataset.subset: expected at least one index, got none; a data set has examples"
            )
        inputs, targets = self.take(indices)
        return Dataset(inputs, targets, self.classes)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and standard deviation of each channel, as `Normalize` takes them.

        Returns:
            `(mean, std)` over all axes of `inputs` but the last, which is the channel. Those of
            uint8 are divided by 255, as `ToTensor` divides images. Computed in float64; the
            deviation is the population's.

        Raises:
            TypeError: `inputs` is not one array `[N, ..., C]` of uint8 or floats.

        Example:
            >>> images = np.full((2, 4, 4, 1), 51, np.uint8)
            >>> Dataset(images, np.zeros(2, np.int32)).statistics()
            ((0.2,), (0.0,))
        """
        if not isinstance(self.inputs, np.ndarray) or self.inputs.ndim < 2:
            raise TypeError(
                "Dataset.statistics: expected inputs to be one array [N, ..., C], got "
                f"{_brief(self.inputs)}; compute the statistics of each array on its own"
            )
        kind = self.inputs.dtype
        if kind != np.uint8 and not jax.dtypes.issubdtype(kind, np.floating):
            raise TypeError(
                "Dataset.statistics: expected inputs of uint8 or floats, as ToTensor takes them, "
                f"got {kind}; convert 0 to 255 with astype(np.uint8)"
            )
        scale = 255 if kind == np.uint8 else 1
        row_bytes = max(1, self.inputs[0].nbytes)
        chunks = range(0, len(self), max(1, _CHUNK_BYTES // row_bytes))
        count = self.inputs.size // self.inputs.shape[-1]
        # Two passes: E[x^2] - E[x]^2 cancels where the mean is large beside the deviation.
        total, squares = 0.0, 0.0
        for start in chunks:
            total = total + self._channels(start, chunks.step).sum(1)
        mean = total / count
        for start in chunks:
            centred = self._channels(start, chunks.step) - np.asarray(mean)[:, None]
            squares = squares + np.einsum("cn,cn->c", centred, centred)
        std = np.sqrt(squares / count)
        return tuple(map(float, mean / scale)), tuple(map(float, std / scale))

    def _channels(self, start: int, rows: int) -> np.ndarray:
        part = self.inputs[start : start + rows]
        return part.reshape(-1, part.shape[-1]).T.astype(np.float64, order="C")  # [C, rows * ...]


def _name(path) -> str:
    return path[0].key + jax.tree_util.keystr(path[1:])


def _brief(tree: Any) -> str:
    shapes = jax.tree.map(lambda x: f"{x.dtype}[{','.join(map(str, x.shape))}]", tree)
    return str(shapes).replace("'", "")
