"""Scores of a whole data set: float64 NumPy on the host, equal to scikit-learn's.

Precision, recall and F1 come from a confusion matrix, which streams (``fx.evaluate.metrics``);
ROC-AUC, Brier score and calibration from the probabilities of all examples.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike


class PrecisionRecallF1(NamedTuple):
    """Precision, recall and F1; float64 [K] per class, or floats when averaged."""

    precision: np.ndarray | float
    recall: np.ndarray | float
    f1: np.ndarray | float
    support: np.ndarray | int


class Calibration(NamedTuple):
    """Examples by confidence, the probability of the predicted class; each field [bins]."""

    confidence: np.ndarray  # mean in the bin, nan in an empty one
    accuracy: np.ndarray  # share of right predictions, nan in an empty one
    count: np.ndarray


def precision_recall_f1(
    confusion: ArrayLike, average: str | None = None, zero_division: float = 0.0
) -> PrecisionRecallF1:
    """Returns precision, recall, F1 and support of each class, or their average.

    Args:
        confusion: counts [K, K], rows the true class, columns the predicted one.
        average: None for each class; "macro" for the mean over classes, "weighted" for the mean
            by support, "micro" for the counts of all classes together (which is accuracy).
        zero_division: 0.0, 1.0 or nan, taken for a precision without predictions, a recall without
            examples, an F1 without either. Averages leave nan out.

    Returns:
        float64 [K] arrays (support: int64), or floats (support: the number of examples).

    Raises:
        ValueError: ``confusion`` that is not square or has negative counts, an unknown
            ``average``, or a ``zero_division`` other than the three.

    Example:
        >>> precision_recall_f1([[3, 1], [2, 4]], average="micro").f1
        0.7

    Source: ``sklearn.metrics.precision_recall_fscore_support``, whose ``zero_division="warn"`` is
    0.0 here, without the warning, and whose averages return no support.
    """
    confusion = _counts("precision_recall_f1", confusion)
    if average not in (None, "macro", "micro", "weighted"):
        raise ValueError(
            f"precision_recall_f1: expected average None, 'macro', 'micro' or 'weighted', "
            f"got {average!r}"
        )
    if zero_division not in (0, 1) and not np.isnan(zero_division):
        raise ValueError(
            f"precision_recall_f1: expected zero_division 0.0, 1.0 or nan, got {zero_division}"
        )
    right = confusion.diagonal()
    predicted, support = confusion.sum(0), confusion.sum(1)
    if average == "micro":
        right, predicted, support = (np.array([v.sum()]) for v in (right, predicted, support))
    values = (
        _divide(right, predicted, zero_division),
        _divide(right, support, zero_division),
        _divide(2 * right, predicted + support, zero_division),
    )
    if average is None:
        return PrecisionRecallF1(*values, support)
    weights = support if average == "weighted" else np.ones_like(support)
    precision, recall, f1 = (_average(value, weights) for value in values)
    return PrecisionRecallF1(precision, recall, f1, int(support.sum()))


def per_class_accuracy(confusion: ArrayLike) -> np.ndarray:
    """Returns for each class the share of its examples that was predicted right.

    This is the class's recall, except that a class without examples gives nan.

    Args:
        confusion: counts [K, K], rows the true class, columns the predicted one.

    Returns:
        float64 [K].

    Raises:
        ValueError: ``confusion`` that is not square or has negative counts.

    Example:
        >>> per_class_accuracy([[3, 1], [0, 0]])
        array([0.75,  nan])

    Source: the diagonal of ``sklearn.metrics.confusion_matrix(normalize="true")``, which has 0
    for an absent class.
    """
    confusion = _counts("per_class_accuracy", confusion)
    return _divide(confusion.diagonal(), confusion.sum(1), np.nan)


def roc_auc(
    probabilities: ArrayLike, labels: ArrayLike, average: str | None = "macro"
) -> np.ndarray | float:
    """Returns the area under the ROC curve, each class against the rest.

    Exact: the share of pairs (an example of the class, one of another) in which the first has the
    higher probability, ties counting half.

    Args:
        probabilities: [N, K], each row summing to 1.
        labels: integers [N] in 0..K-1.
        average: "macro" for the mean over classes, "weighted" for the mean by support, None for
            each class.

    Returns:
        A float, or float64 [K]. A class that has no examples, or all of them, gives nan, and
        averages leave it out; nan when nothing is left.

    Raises:
        ValueError: shapes other than [N, K] and [N], no examples, fewer than 2 classes, labels
            outside of 0..K-1, rows that are not probabilities, or an unknown ``average``.
        TypeError: labels that are not integers, or probabilities that are not numbers.

    Example:
        >>> roc_auc([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]], [0, 1, 1])
        1.0

    Source: ``sklearn.metrics.roc_auc_score(multi_class="ovr")``, which refuses absent classes or
    gives nan for the average, and for K = 2 takes the probability of class 1, which is the same.
    """
    probabilities, labels = check_probabilities("roc_auc", probabilities, labels)
    if average not in (None, "macro", "weighted"):
        raise ValueError(f"roc_auc: expected average None, 'macro' or 'weighted', got {average!r}")
    classes = probabilities.shape[1]
    areas = np.array([_area(probabilities[:, k], labels == k) for k in range(classes)])
    if average is None:
        return areas
    support = np.bincount(labels, minlength=classes)
    return _average(areas, support if average == "weighted" else np.ones(classes))


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Returns the mean squared distance of the probabilities from the one-hot labels.

    Args:
        probabilities: [N, K], each row summing to 1.
        labels: integers [N] in 0..K-1.

    Returns:
        0 (right and sure) to 2 (wrong and sure); with two classes it is halved, 0 to 1.

    Raises:
        ValueError, TypeError: as ``roc_auc``.

    Example:
        >>> brier_score([[0.5, 0.5], [0.0, 1.0]], [0, 1])
        0.125

    Source: ``sklearn.metrics.brier_score_loss``, the halving included.
    """
    probabilities, labels = check_probabilities("brier_score", probabilities, labels)
    classes = probabilities.shape[1]
    distance = ((probabilities - np.eye(classes)[labels]) ** 2).sum(1).mean()
    return float(distance / 2 if classes == 2 else distance)


def calibration(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Calibration:
    """Returns confidence against accuracy, in bins of equal width.

    Args:
        probabilities: [N, K], each row summing to 1.
        labels: integers [N] in 0..K-1.
        bins: how many bins the confidences 0 to 1 fall into; each includes its upper edge.

    Returns:
        Mean confidence, accuracy and number of examples of each bin, [bins].

    Raises:
        ValueError: ``bins`` below 1, and as ``roc_auc``.
        TypeError: as ``roc_auc``.

    Example:
        >>> calibration([[0.9, 0.1], [0.6, 0.4]], [0, 1], bins=2).count
        array([0, 2])

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    probabilities, labels = check_probabilities("calibration", probabilities, labels)
    if bins < 1:
        raise ValueError(f"calibration: expected bins of 1 or more, got {bins}")
    confidence = probabilities.max(1)
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    return Calibration(
        _divide(np.bincount(index, confidence, bins), count, np.nan),
        _divide(np.bincount(index, right, bins), count, np.nan),
        count,
    )


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> float:
    """Returns the mean gap between confidence and accuracy, over bins of confidence.

    Args:
        probabilities: [N, K], each row summing to 1.
        labels: integers [N] in 0..K-1.
        bins: as in ``calibration``.

    Returns:
        0 (of the examples with confidence c, the share c is right) to 1.

    Raises:
        ValueError, TypeError: as ``calibration``.

    Example:
        >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 6)
        0.4

    Source: Guo et al. 2017, equation 3.
    """
    confidence, right, count = calibration(probabilities, labels, bins)
    gap = np.abs(confidence - right)[count > 0]
    return float((gap * count[count > 0]).sum() / count.sum())


def roc_curve(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns false and true positive rates [T] at each distinct threshold, from (0, 0) to (1, 1).

    Args:
        score: [N], higher where the example is thought positive.
        positive: bool [N], with one or more of each kind.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of each run of equal scores
    right = np.cumsum(positive[order])[last]
    wrong = np.flatnonzero(last) + 1 - right
    return np.append(0, wrong / wrong[-1]), np.append(0, right / right[-1])


def softmax(logits: ArrayLike) -> np.ndarray:
    """Returns the probabilities [N, K] of logits [N, K], in float64."""
    logits = np.asarray(logits).astype(np.float64)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def check_examples(
    where: str, scores: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores [N, K] as float64 and labels [N] as int64, or raises what is wrong."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    # jnp's dtype lattice: to NumPy's, bfloat16 is not a floating-point number.
    if not jnp.issubdtype(scores.dtype, jnp.number) or np.iscomplexobj(scores):
        raise TypeError(f"{where}: expected real numbers per class, got {scores.dtype}")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"{where}: expected scores [N, K] of K >= 2 classes, got {list(scores.shape)}"
            + "; of one score p for two classes, give np.stack([1 - p, p], 1)" * (scores.ndim == 1)
        )
    if len(scores) == 0:
        raise ValueError(f"{where}: expected at least one example, got scores {list(scores.shape)}")
    if labels.shape != scores.shape[:1]:
        raise ValueError(
            f"{where}: expected labels [{len(scores)}] for scores {list(scores.shape)}, "
            f"got {list(labels.shape)}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{where}: expected integer labels, got {labels.dtype}")
    outside = (labels < 0) | (labels >= scores.shape[1])
    if outside.any():
        raise ValueError(
            f"{where}: expected labels from 0 to {scores.shape[1] - 1}, got "
            f"{labels[outside][0]} at {np.flatnonzero(outside)[0]} ({outside.sum()} in all)"
        )
    return scores.astype(np.float64), labels.astype(np.int64)


def check_probabilities(
    where: str, probabilities: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what ``check_examples`` does, and raises where rows are not probabilities."""
    probabilities, labels = check_examples(where, probabilities, labels)
    # 0.02: what rounding to bfloat16 leaves of a sum of 1.
    wrong = ~((np.abs(probabilities.sum(1) - 1) <= 0.02) & (probabilities >= 0).all(1))
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise ValueError(
            f"{where}: expected probabilities, rows of numbers >= 0 that sum to 1, got row {row} "
            f"with minimum {probabilities[row].min():.4g} and sum {probabilities[row].sum():.4g}; "
            f"pass fx.evaluate.softmax(logits)"
        )
    return probabilities, labels


def _counts(where: str, confusion: ArrayLike) -> np.ndarray:
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not confusion.size:
        raise ValueError(
            f"{where}: expected a confusion matrix [K, K], got {list(confusion.shape)}"
        )
    if not np.issubdtype(confusion.dtype, np.integer) or (confusion < 0).any():
        raise ValueError(
            f"{where}: expected counts, integers of 0 or more, got {confusion.dtype} from "
            f"{confusion.min()} to {confusion.max()}"
        )
    return confusion.astype(np.int64)


def _divide(numerator: np.ndarray, denominator: np.ndarray, otherwise: float) -> np.ndarray:
    return np.where(denominator == 0, otherwise, numerator / np.maximum(denominator, 1))


def _average(values: np.ndarray, weights: np.ndarray) -> float:
    known = ~np.isnan(values)
    if not known.any():
        return float("nan")
    # scikit-learn's choice where all that is known weighs nothing: the plain mean.
    shares = weights[known] if weights[known].any() else None
    return float(np.average(values[known], weights=shares))


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """The Mann-Whitney statistic: equal scores share the mean of their ranks."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index]
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
