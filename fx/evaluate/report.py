"""Everything about a classifier's predictions in one value, as text and as JSON."""

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from fx.evaluate import metrics, scores
from fx.evaluate.files import plain, write_atomic

_COLUMNS = ("precision", "recall", "f1", "accuracy", "roc_auc")
_WIDEST_MATRIX = 20  # classes; a wider matrix does not fit on a line of text


@dataclasses.dataclass(frozen=True)
class ClassReport:
    """The scores of one class, or an average over classes.

    Attributes:
        name: the class, or "macro avg" or "weighted avg".
        precision: of what was called this class, the share that is; 0 where nothing was.
        recall: of this class's examples, the share that was called it; 0 where there are none.
        f1: harmonic mean of both; 0 where the class neither occurs nor is predicted.
        accuracy: as recall, but nan where there are no examples.
        roc_auc: area under the curve against all other classes; nan where it is not defined.
        support: number of examples.
    """

    name: str
    precision: float
    recall: float
    f1: float
    accuracy: float
    roc_auc: float
    support: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What ``classification_report`` found.

    Attributes:
        examples: number of examples.
        loss: mean cross-entropy in nats.
        perplexity: exp(loss).
        accuracy: share of right predictions.
        top_5_accuracy: share of labels among the five most likely; None below six classes.
        roc_auc: mean over classes of the one-vs-rest area, those that have one.
        brier: Brier score.
        calibration_error: expected calibration error over 15 bins.
        classes: the scores of each class.
        macro: their mean.
        weighted: their mean by support.
        confusion: counts, rows the true class, columns the predicted one.
    """

    examples: int
    loss: float
    perplexity: float
    accuracy: float
    top_5_accuracy: float | None
    roc_auc: float
    brier: float
    calibration_error: float
    classes: tuple[ClassReport, ...]
    macro: ClassReport
    weighted: ClassReport
    confusion: tuple[tuple[int, ...], ...]

    def text(self) -> str:
        """Returns an aligned table: classes, averages, totals, and up to 20 classes the matrix."""
        blocks = [_table(self), _totals(self)]
        if len(self.classes) <= _WIDEST_MATRIX:
            blocks.append(_matrix(self))
        return "\n\n".join(blocks) + "\n"

    def to_dict(self) -> dict:
        """Returns the fields as dicts, lists and numbers; what is not finite becomes None."""
        return plain(dataclasses.asdict(self))

    def to_json(self) -> str:
        """Returns strict JSON: nan and infinity, which it lacks, are null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Writes ``report.txt`` and ``report.json``, each atomically.

        Args:
            folder: where to; made if missing.

        Returns:
            The two paths, text first.

        Raises:
            OSError: what the file system says.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "report.txt", folder / "report.json"
        for path, content in zip(paths, (self.text(), self.to_json()), strict=True):
            write_atomic(path, content.encode())
        return paths


def classification_report(
    logits: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None
) -> Report:
    """Returns every score of a classifier's predictions, computed in float64.

    Args:
        logits: unnormalised log probabilities [N, K]; minus infinity excludes a class.
        labels: integers [N] in 0..K-1.
        classes: K names; None for "0", "1", ...

    Returns:
        A ``Report``.

    Raises:
        ValueError: shapes other than [N, K >= 2] and [N], no examples, labels outside of 0..K-1,
            logits with nan or plus infinity or rows without a finite one, or another number of
            names than K.
        TypeError: labels that are not integers, or logits that are not numbers.

    Example:
        >>> report = classification_report([[2.0, 0.0], [1.0, 0.0]], [0, 1], ["cat", "dog"])
        >>> report.accuracy, report.classes[1].recall, report.confusion
        (0.5, 0.0, ((1, 0), (1, 0)))

    Source: ``sklearn.metrics.classification_report`` with ``zero_division=0``, and its
    ``log_loss``, ``roc_auc_score``, ``brier_score_loss``, ``top_k_accuracy_score``.
    """
    values, targets = scores.check_examples("classification_report", logits, labels)
    _check_logits(values)
    names = _names(classes, values.shape[1])
    probabilities = scores.softmax(values)
    predictions = values.argmax(1)
    confusion = np.asarray(metrics.confusion_matrix(targets, predictions, len(names)))
    loss = _log_loss(values, targets)
    return Report(
        examples=len(targets),
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        accuracy=float((predictions == targets).mean()),
        top_5_accuracy=_top_5(values, targets),
        roc_auc=float(scores.roc_auc(probabilities, targets)),
        brier=scores.brier_score(probabilities, targets),
        calibration_error=scores.expected_calibration_error(probabilities, targets),
        classes=_class_reports(names, confusion, probabilities, targets),
        macro=_averaged("macro", confusion, probabilities, targets),
        weighted=_averaged("weighted", confusion, probabilities, targets),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _check_logits(logits: np.ndarray) -> None:
    wrong = np.isnan(logits).any(1) | ~np.isfinite(logits.max(1))
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise ValueError(
            f"classification_report: expected logits without nan and plus infinity, one or more "
            f"finite in each row, got {logits[row].tolist()} in row {row} ({wrong.sum()} such "
            f"rows of {len(logits)}); did training diverge?"
        )


def _names(classes: Sequence[str] | None, count: int) -> tuple[str, ...]:
    names = tuple(map(str, range(count) if classes is None else classes))
    if len(names) != count:
        raise ValueError(
            f"classification_report: expected {count} class names for logits [N, {count}], "
            f"got {len(names)}"
        )
    return names


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """From the logits: the log of a probability that rounds to 0 would be infinite."""
    top = logits.max(1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return float((total - logits[np.arange(len(labels)), labels]).mean())


def _top_5(logits: np.ndarray, labels: np.ndarray) -> float | None:
    if logits.shape[1] <= 5:
        return None
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return float((best == labels[:, None]).any(1).mean())


def _class_reports(
    names: tuple[str, ...], confusion: np.ndarray, probabilities: np.ndarray, labels: np.ndarray
) -> tuple[ClassReport, ...]:
    precision, recall, f1, support = map(np.asarray, scores.precision_recall_f1(confusion))
    accuracy = scores.per_class_accuracy(confusion)
    areas = np.asarray(scores.roc_auc(probabilities, labels, average=None))
    columns = (precision, recall, f1, accuracy, areas, support)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(ClassReport(name, *row) for name, row in zip(names, rows, strict=True))


def _averaged(
    average: str, confusion: np.ndarray, probabilities: np.ndarray, labels: np.ndarray
) -> ClassReport:
    precision, recall, f1, support = scores.precision_recall_f1(confusion, average)
    accuracy = scores.per_class_accuracy(confusion)
    present = confusion.sum(1) > 0
    weights = confusion.sum(1)[present] if average == "weighted" else None
    return ClassReport(
        f"{average} avg",
        float(precision),
        float(recall),
        float(f1),
        float(np.average(accuracy[present], weights=weights)),
        float(scores.roc_auc(probabilities, labels, average)),
        int(support),
    )


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def _row(name: str, width: int, cells: Sequence[str]) -> str:
    return f"{name:>{width}}" + "".join(f"{cell:>11}" for cell in cells)


def _table(report: Report) -> str:
    averages = (report.macro, report.weighted)
    width = max(len(row.name) for row in (*report.classes, *averages))

    def line(row: ClassReport) -> str:
        cells = [_number(getattr(row, column)) for column in _COLUMNS]
        return _row(row.name, width, [*cells, str(row.support)])

    head = _row("", width, [*_COLUMNS, "support"])
    return "\n".join([head, "", *map(line, report.classes), "", *map(line, averages)])


def _totals(report: Report) -> str:
    totals = {
        "examples": str(report.examples),
        "loss": _number(report.loss),
        "perplexity": _number(report.perplexity),
        "accuracy": _number(report.accuracy),
        "top-5 accuracy": None if report.top_5_accuracy is None else _number(report.top_5_accuracy),
        "ROC-AUC (one-vs-rest, macro)": _number(report.roc_auc),
        "Brier score": _number(report.brier),
        "calibration error": _number(report.calibration_error),
    }
    width = max(map(len, totals))
    return "\n".join(f"{name:<{width}}  {value:>10}" for name, value in totals.items() if value)


def _matrix(report: Report) -> str:
    names = [row.name for row in report.classes]
    left = max(map(len, names))
    short = [name[:10] for name in names]
    cell = 2 + max(max(map(len, short)), len(str(max(map(max, report.confusion)))))
    lines = [" " * left + "".join(f"{name:>{cell}}" for name in short)]
    for name, row in zip(names, report.confusion, strict=True):
        lines.append(f"{name:>{left}}" + "".join(f"{count:>{cell}}" for count in row))
    return "\n".join(["confusion matrix (rows: true class, columns: predicted)", *lines])
