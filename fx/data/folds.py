"""Stratified splits and folds, as pure functions of a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fx.data.checks import as_integer
from fx.data.splits import FOLD, STRATA, permutation, sizes_of
from fx.data.views import Source, subset

Pair = tuple[Source, Source]


def fold_rows(
    n: int, k: int, seed: int = 0, labels: ArrayLike | None = None
) -> tuple[np.ndarray, ...]:
    """Deal the rows 0 to n - 1 out to k folds at random.

    Args:
        n: number of examples.
        k: number of folds.
        seed: the folds are a pure function of it.
        labels: int `[n]`; given, each fold has its share of each class, to within one.

    Returns:
        For each fold its rows, int64, ascending; together they are all rows, each once. Their
        numbers differ by one at most.

    Raises:
        TypeError: k is not an integer.
        ValueError: k is not from 2 to n, or a class has fewer than k examples.

    Example:
        >>> [len(rows) for rows in fold_rows(10, 3)]
        [4, 3, 3]
    """
    k = as_integer("k_fold", "k", k)
    if not 2 <= k <= n:
        raise ValueError(
            f"k_fold: expected k from 2 to the number of examples, {n}, got {k}; a fold cannot be "
            "empty"
        )
    if labels is None:
        order = permutation(n, seed, purpose=FOLD)
    else:
        labels = _check_labels("stratified_k_fold", n, labels)
        values, counts = np.unique(labels, return_counts=True)
        if counts.min() < k:
            raise ValueError(
                f"stratified_k_fold: expected at least {k} examples of each class for {k} folds, "
                f"got {counts.min()} of class {values[counts.argmin()]}; lower k, or merge classes"
            )
        # Dealt out class by class, as cards are, which keeps the folds' sizes and their shares of
        # each class to within one.
        shuffled = permutation(n, seed, purpose=FOLD)
        order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return tuple(np.sort(order[fold::k]) for fold in range(k))


def k_fold(dataset: Source, k: int, seed: int = 0) -> Iterator[Pair]:
    """Give k pairs of training and validation parts; each example is in one validation part.

    Args:
        dataset: any source.
        k: number of folds.
        seed: the folds are a pure function of it.

    Returns:
        An iterator of `(training, validation)`, made one pair at a time: parts of data in memory
        are copies. `fold_rows` gives the rows alone.

    Raises:
        ValueError: k is not from 2 to `len(dataset)`.

    Example:
        >>> from fx.data import Dataset
        >>> data = Dataset(np.arange(10.0), np.arange(10))
        >>> [(len(train), len(valid)) for train, valid in k_fold(data, 3)]
        [(6, 4), (7, 3), (7, 3)]

    Source:
        `sklearn.model_selection.KFold(shuffle=True)`.
    """
    return _pairs(dataset, fold_rows(len(dataset), k, seed))


def stratified_k_fold(
    dataset: Source, k: int, seed: int = 0, labels: ArrayLike | None = None
) -> Iterator[Pair]:
    """Give k pairs of training and validation parts, with equal shares of each class.

    Args:
        dataset: any source.
        k: number of folds.
        seed: the folds are a pure function of it.
        labels: int `[N]`; None is the data set's own targets.

    Returns:
        As `k_fold`; each validation part has its k-th of each class, to within one.

    Raises:
        ValueError: k is not from 2 to `len(dataset)`, a class has fewer than k examples, or the
            labels are not integers `[N]`.

    Example:
        >>> from fx.data import Dataset
        >>> data = Dataset(np.arange(8.0), np.array([0, 0, 0, 0, 0, 0, 1, 1]))
        >>> [valid.targets.tolist() for _, valid in stratified_k_fold(data, 2)]
        [[0, 0, 0, 1], [0, 0, 0, 1]]

    Source:
        `sklearn.model_selection.StratifiedKFold(shuffle=True)`.
    """
    labels = _labels_of("stratified_k_fold", dataset, labels)
    return _pairs(dataset, fold_rows(len(dataset), k, seed, labels))


def stratified_split(
    dataset: Source,
    lengths: Sequence[float],
    seed: int = 0,
    labels: ArrayLike | None = None,
) -> tuple[Source, ...]:
    """Split at random into parts that have equal shares of each class.

    Args:
        dataset: any source.
        lengths: as for `random_split`; the parts have the same sizes as there.
        seed: the split is a pure function of it, of the lengths and of the labels.
        labels: int `[N]`; None is the data set's own targets.

    Returns:
        One part for each length, in the order of the source. Of each class a part has its share,
        to within one.

    Raises:
        ValueError: the lengths are negative, sum to something else, or leave a part empty; the
            labels are not integers `[N]`.

    Example:
        >>> from fx.data import Dataset
        >>> data = Dataset(np.arange(10.0), np.array([0] * 5 + [1] * 5))
        >>> [part.targets.tolist() for part in stratified_split(data, (0.6, 0.4))]
        [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1]]

    Source:
        `sklearn.model_selection.train_test_split(stratify=)`, into any number of parts.
    """
    labels = _labels_of("stratified_split", dataset, labels)
    sizes = np.array(sizes_of("stratified_split", len(dataset), lengths))
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    table = _share_out(counts, sizes)  # [classes, parts]
    shuffled = permutation(len(labels), seed, purpose=STRATA)
    order = shuffled[np.argsort(which[shuffled], kind="stable")]  # class by class
    part = np.repeat(np.tile(np.arange(len(sizes)), len(counts)), table.ravel())
    return tuple(subset(dataset, np.sort(order[part == i])) for i in range(len(sizes)))


def _share_out(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Whole numbers [classes, parts] with these sums, each within one of its share."""
    table = counts[:, None] * sizes // sizes.sum()
    spare, need = counts - table.sum(1), sizes - table.sum(0)
    # What rounding down left over: one each, at most, to the parts that lack most. This greedy
    # choice meets all sums where any does (Gale and Ryser), and the exact shares show that one
    # does.
    for row in np.argsort(-spare, kind="stable"):
        chosen = np.argsort(-need, kind="stable")[: spare[row]]
        table[row, chosen] += 1
        need[chosen] -= 1
    return table


def _pairs(dataset: Source, folds: tuple[np.ndarray, ...]) -> Iterator[Pair]:
    for rows in folds:
        rest = np.setdiff1d(np.arange(len(dataset)), rows, assume_unique=True)
        yield subset(dataset, rest), subset(dataset, rows)


def _labels_of(where: str, dataset: Any, labels: ArrayLike | None) -> np.ndarray:
    if labels is None:
        labels = getattr(dataset, "targets", None)
        if labels is None:
            raise ValueError(
                f"{where}: expected a data set with targets at hand, got {dataset!r}; give labels="
            )
    return _check_labels(where, len(dataset), labels)


def _check_labels(where: str, n: int, labels: Any) -> np.ndarray:
    array = np.asarray(labels) if not isinstance(labels, dict | tuple) else None
    if array is None or array.shape != (n,) or array.dtype.kind not in "iub":
        came = type(labels).__name__ if array is None else f"{array.dtype}{list(array.shape)}"
        raise ValueError(f"{where}: expected labels to be integers [{n}], got {came}; give labels=")
    return array
