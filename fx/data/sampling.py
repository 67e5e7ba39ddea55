"""Weighted sampling as a pure function of seed and epoch."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
from numpy.typing import ArrayLike

from fx.data.splits import SAMPLE, words


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WeightedSampler:
    """Draw rows in proportion to weights, for `Loader(..., sampler=)`.

    Args:
        weights: float `[N]`, of 0 or more, one for each example; they need not sum to 1.
        num_samples: rows in an epoch; None is N.
        replacement: whether a row may come again within an epoch. Without, the first row is drawn
            by the weights, the second by those of the rest, and so on.

    Raises:
        ValueError: weights are negative, not finite or all 0; `num_samples` is below 1, or without
            replacement more than there are positive weights.

    Example:
        >>> labels = np.array([0, 0, 0, 1])
        >>> sampler = WeightedSampler(1 / np.bincount(labels)[labels], 1000)
        >>> rows = sampler(seed=0, epoch=0)
        >>> bool(abs(np.mean(labels[rows]) - 0.5) < 0.05)
        True

    Source:
        `torch.utils.data.WeightedRandomSampler`, with a seed in place of a generator. Without
        replacement it is Efraimidis and Spirakis, "Weighted random sampling with a reservoir",
        2006, as `torch.multinomial` is.
    """

    weights: ArrayLike
    num_samples: int | None = None
    replacement: bool = True

    def __post_init__(self) -> None:
        weights = np.array(self.weights, np.float64)
        if weights.ndim != 1 or not weights.size:
            raise ValueError(
                f"WeightedSampler: expected weights [N], got shape {list(weights.shape)}"
            )
        if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
            raise ValueError(
                "WeightedSampler: expected finite weights of 0 or more, and one above 0, got "
                f"values from {weights.min()} to {weights.max()}"
            )
        count = len(weights) if self.num_samples is None else self.num_samples
        positive = int((weights > 0).sum())
        if count < 1 or (not self.replacement and count > positive):
            most = "" if self.replacement else f" and at most {positive}, the positive weights"
            raise ValueError(
                f"WeightedSampler: expected num_samples of 1 or more{most}, got {count}; "
                "replacement=True draws any number"
            )
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "num_samples", int(count))

    def __len__(self) -> int:
        return self.num_samples  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"WeightedSampler({len(self)} of {self.examples}, replacement={self.replacement})"

    def fingerprint(self) -> str:
        """What determines the rows, as a short text; a run compares it when it resumes."""
        weights: np.ndarray = self.weights  # type: ignore[assignment]
        return f"{zlib.crc32(weights.tobytes()):08x}-{len(self)}-{self.replacement}"

    @property
    def examples(self) -> int:
        """How many examples the data set must have."""
        return len(self.weights)  # type: ignore[arg-type]

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        """Return the rows of an epoch, int64 `[num_samples]`."""
        weights: np.ndarray = self.weights  # type: ignore[assignment]
        if self.replacement:
            uniform = _uniform(words(len(self), seed, epoch, SAMPLE))
            edges = np.cumsum(weights)
            rows = np.searchsorted(edges, uniform * edges[-1], "right")
            # Rounding can put a draw onto the last edge, beyond the last positive weight.
            return np.minimum(rows, np.flatnonzero(weights)[-1]).astype(np.int64)
        waits = -np.log1p(-_uniform(words(self.examples, seed, epoch, SAMPLE)))
        with np.errstate(divide="ignore", invalid="ignore"):
            waits = np.where(weights > 0, waits / weights, np.inf)
        return np.argsort(waits, kind="stable")[: len(self)].astype(np.int64)


def _uniform(bits: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) from 64 random bits."""
    return (bits >> np.uint64(11)).astype(np.float64) / 2**53
