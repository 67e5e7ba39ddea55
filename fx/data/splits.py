"""Orders and splits as pure functions of a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fx.data.views import subset

# What a permutation is for: one seed gives unrelated orders to each purpose.
ORDER, SPLIT, HOLD_OUT, SAMPLE, FOLD, STRATA = range(6)


def permutation(n: int, seed: int, epoch: int = 0, *, purpose: int = ORDER) -> np.ndarray:
    """Return an order of `n` rows that depends on the arguments and on nothing else.

    It is the stable sort of `n` words of Philox4x64-10 with key `(seed, epoch)` and counter
    `(0, 0, 0, purpose)`. NumPy keeps that stream fixed, while it may change how
    `Generator.permutation` uses it; so a run resumes bit for bit under another version of NumPy.

    Args:
        n: number of rows.
        seed: any integer, taken modulo 2**64.
        epoch: any integer, taken modulo 2**64.
        purpose: separates orders drawn with one seed for different ends.

    Returns:
        int64 `[n]`, each of 0 to n - 1 once.

    Example:
        >>> permutation(5, seed=0, epoch=1).tolist() == permutation(5, seed=0, epoch=1).tolist()
        True
    """
    return np.argsort(words(n, seed, epoch, purpose), kind="stable")


def words(n: int, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """Return `n` random words, uint64, of the stream that `permutation` describes."""
    key = np.array([seed % 2**64, epoch % 2**64], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(n)


def random_split(dataset: Any, lengths: Sequence[float], seed: int = 0) -> tuple[Any, ...]:
    """Split a data set at random into disjoint parts that together are the whole.

    Args:
        dataset: any source.
        lengths: fractions that sum to 1, or whole numbers that sum to `len(dataset)`. Examples
            that fractions leave over by rounding go one each to the first parts, as in torch.
        seed: the split is a pure function of it and of the lengths.

    Returns:
        One part for each length, in the order of the source, as `subset` makes it: of a `Dataset`
        in memory a `Dataset`, its rows copied; of another source a view.

    Raises:
        TypeError: the lengths are no sequence.
        ValueError: the lengths are negative, sum to something else, or leave a part empty.

    Example:
        >>> from fx.data import Dataset
        >>> data = Dataset(np.arange(10.0), np.arange(10))
        >>> [len(part) for part in random_split(data, (0.8, 0.2), seed=1)]
        [8, 2]

    Source:
        `torch.utils.data.random_split`, with a seed in place of a generator.
    """
    sizes = sizes_of("random_split", len(dataset), lengths)
    order = permutation(len(dataset), seed, purpose=SPLIT)
    stops = np.cumsum(sizes)
    return tuple(
        subset(dataset, np.sort(order[stop - size : stop])) for size, stop in zip(sizes, stops)
    )


def sizes_of(where: str, n: int, lengths: Sequence[float]) -> list[int]:
    """Return how many of `n` examples each part gets.

    Raises:
        ValueError: the lengths are negative, sum to something else, or leave a part empty.
    """
    if not isinstance(lengths, Sequence | np.ndarray):
        raise TypeError(f"{where}: expected lengths such as (0.8, 0.2), got {lengths!r}")
    if not len(lengths) or any(length < 0 for length in lengths):
        raise ValueError(
            f"{where}: expected lengths of 0 or more, got {tuple(lengths)}; "
            "give fractions such as (0.8, 0.2)"
        )
    if math.isclose(sum(lengths), 1):
        sizes = [math.floor(n * length) for length in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    elif sum(lengths) == n and all(length == int(length) for length in lengths):
        sizes = [int(length) for length in lengths]
    else:
        raise ValueError(
            f"{where}: expected fractions that sum to 1 or whole numbers that sum to {n}, "
            f"got {tuple(lengths)}, which sum to {sum(lengths):g}"
        )
    if 0 in sizes:
        raise ValueError(
            f"{where}: lengths {tuple(lengths)} split {n} examples into {sizes}, and part "
            f"{sizes.index(0)} would be empty; give it a larger share"
        )
    return sizes
