"""Pictures of a run: learning curves, confusion matrix, sample predictions, ROC, calibration.

Each function draws one figure into one file and returns its path; the ending chooses the format
(png, svg, pdf). Nothing is told by colour alone.
"""

import itertools
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fx.evaluate import drawing, scores

_HUES = (drawing.ORANGE, drawing.PURPLE, drawing.GREEN)
_GROUP = "learning_rate/"
_TALL, _LINE = 180, 11  # points: a panel's height, about, and a line of text's
_FALLING = ("loss", "perplexity", "error")  # what training lowers
_COUNTED = 25  # classes; a wider confusion matrix has no room for a count per cell
_NAMED = 120  # classes; a wider one has no room for a name per row


def learning_curves(history: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Draws each metric over the epochs, training beside validation, and the learning rate.

    Args:
        history: one mapping an epoch, as ``fx.fit`` returns it. ``train_loss`` and ``val_loss``
            share a panel, and so does every other pair of that form; ``learning_rate`` has its
            own, with a line for each parameter group where there are several. ``epoch`` gives the
            position, else they count from 1. Missing and None are gaps.
        path: the picture's file; its folder is made if missing.

    Returns:
        The path.

    Raises:
        ValueError: no epochs, or none of those keys in any.
        ImportError: without matplotlib.
    """
    metrics = _metric_names(history)
    epochs = [entry.get("epoch", number + 1) for number, entry in enumerate(history)]
    rates = _rates(history)
    panels = len(metrics) + bool(rates)
    if not panels:
        raise ValueError(
            "plots.learning_curves: expected epochs with keys such as train_loss, val_accuracy or "
            f"learning_rate, got {len(history)} epochs with {sorted(set().union(*history))}"
        )
    figure = drawing.figure(4.4 * panels, 3.4)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis, metric in zip(axes, metrics, strict=False):
        _metric_panel(axis, history, epochs, metric)
    if panels > len(metrics):
        _rate_panel(axes[-1], epochs, rates)
    drawing.open_frame(*axes)
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return drawing.save(figure, path)


def confusion_matrix(
    confusion: ArrayLike, path: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> Path:
    """Draws a confusion matrix: the shade is the share of the true class, the number the count.

    Args:
        confusion: counts [K, K], rows the true class, columns the predicted one. Above 25 classes
            the counts are left out, above 120 most names.
        path: the picture's file.
        classes: K names; None for "0", "1", ...

    Returns:
        The path.

    Raises:
        ValueError: a matrix that is not [K, K], or another number of names than K.
        ImportError: without matplotlib.
    """
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"plots.confusion_matrix: expected [K, K], got {list(counts.shape)}")
    names = drawing.class_names("plots.confusion_matrix", classes, len(counts))
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(0.62 * len(counts), 3.2), 14)
    figure = drawing.figure(side + 2.2, side + 1.2)
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axis, shrink=0.6, label="share of the true class")
    bar.outline.set_visible(False)
    axis.spines[:].set_visible(False)
    size = min(10.0, 72 * side / len(counts) * 0.7)
    _name_ticks(axis, names, size)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    right = counts.diagonal().sum() / max(counts.sum(), 1)
    axis.set_title(f"{counts.sum():,} examples, {right:.1%} right", loc="left")
    if len(counts) <= _COUNTED:
        _cell_counts(axis, counts, share)
    return drawing.save(figure, path)


def sample_predictions(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    columns: int = 8,
) -> Path:
    """Draws images in a grid with what each was taken for, how surely, and whether rightly.

    Args:
        images: uint8 [N, H, W, C] with C of 1 or 3; all of them are drawn, so pass a few dozen.
        labels: integers [N] in 0..K-1.
        probabilities: [N, K], each row summing to 1.
        path: the picture's file.
        classes: K names; None for "0", "1", ...
        columns: images in a row.

    Returns:
        The path.

    Raises:
        ValueError: images that are not [N, H, W, 1 or 3], another number of them than labels,
            another number of names than K, ``columns`` below 1, and as ``fx.evaluate.roc_auc``.
        TypeError: images that are not uint8, and as ``fx.evaluate.roc_auc``.
        ImportError: without matplotlib.
    """
    where = "plots.sample_predictions"
    probabilities, labels = scores.check_probabilities(where, probabilities, labels)
    images = _pictures(where, images, len(labels))
    names = drawing.class_names(where, classes, probabilities.shape[1])
    if columns < 1:
        raise ValueError(f"{where}: expected columns of 1 or more, got {columns}")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = drawing.figure(max(1.35 * columns, 2.7), 1.75 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    predicted = probabilities.argmax(1)
    for axis in grid.flat:
        axis.set_axis_off()
    for index, axis in zip(range(len(images)), grid.flat, strict=False):
        guess, truth = names[predicted[index]], names[labels[index]]
        _sample(axis, images[index], guess, truth, probabilities[index].max())
    right = int((predicted == labels).sum())
    figure.suptitle(f"{right} of {len(labels)} right", x=0.01, ha="left", fontsize=11)
    return drawing.save(figure, path)


def roc_curves(
    probabilities: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
) -> Path:
    """Draws each class's ROC curve against the rest, and names the three with the least area.

    Args:
        probabilities: [N, K], each row summing to 1.
        labels: integers [N] in 0..K-1. Classes without examples have no curve.
        path: the picture's file.
        classes: K names; None for "0", "1", ...

    Returns:
        The path.

    Raises:
        ValueError: another number of names than K, all labels equal, and as
            ``fx.evaluate.roc_auc``.
        TypeError: as ``fx.evaluate.roc_auc``.
        ImportError: without matplotlib.
    """
    where = "plots.roc_curves"
    probabilities, labels = scores.check_probabilities(where, probabilities, labels)
    names = drawing.class_names(where, classes, probabilities.shape[1])
    areas = np.asarray(scores.roc_auc(probabilities, labels, average=None))
    if np.isnan(areas).all():
        raise ValueError(f"{where}: expected labels of two classes or more, got only {labels[0]}")
    order = [k for k in np.argsort(areas, kind="stable") if not np.isnan(areas[k])]
    figure = drawing.figure(5.2, 4.6)
    axis = figure.subplots()
    drawing.open_frame(axis)
    axis.plot([0, 1], [0, 1], color=drawing.GREY, linewidth=1, linestyle=":")
    for k in order[3:]:
        axis.plot(
            *scores.roc_curve(probabilities[:, k], labels == k),
            color=drawing.GREY,
            alpha=0.6,
            linewidth=0.9,
        )
    for k, hue in reversed(list(zip(order, _HUES, strict=False))):
        label = f"{names[k]}  {areas[k]:.3f}"
        axis.plot(
            *scores.roc_curve(probabilities[:, k], labels == k),
            color=hue,
            linewidth=1.8,
            label=label,
        )
    axis.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), aspect=1)
    axis.set_ylim(0, 1.01)
    axis.set_title(f"ROC, one against the rest: mean area {np.nanmean(areas):.3f}", loc="left")
    axis.legend(title="least area", frameon=False, loc="lower right", reverse=True)
    return drawing.save(figure, path)


def reliability(
    probabilities: ArrayLike, labels: ArrayLike, path: str | os.PathLike[str], bins: int = 15
) -> Path:
    """Draws accuracy against confidence, and how many examples have which confidence.

    Args:
        probabilities: [N, K], each row summing to 1.
        labels: integers [N] in 0..K-1.
        path: the picture's file.
        bins: as in ``fx.evaluate.calibration``.

    Returns:
        The path.

    Raises:
        ValueError, TypeError: as ``fx.evaluate.calibration``.
        ImportError: without matplotlib.
    """
    confidence, accuracy, count = scores.calibration(probabilities, labels, bins)
    error = scores.expected_calibration_error(probabilities, labels, bins)
    figure = drawing.figure(4.6, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    drawing.open_frame(upper, lower)
    upper.plot([0, 1], [0, 1], color=drawing.GREY, linewidth=1, linestyle=":")
    seen = count > 0
    upper.plot(confidence[seen], accuracy[seen], color=drawing.BLUE, marker="o", linewidth=1.6)
    above = np.nansum((accuracy - confidence) * count) >= 0
    upper.text(
        *((0.78, 0.75) if above else (0.22, 0.25)),
        "as sure as right",
        color=drawing.GREY,
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
        ha="center",
        va="top" if above else "bottom",
    )
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.set_title(f"expected calibration error {error:.3f}", loc="left")
    width = 1 / bins
    lower.bar((np.arange(bins) + 0.5) * width, count, width * 0.9, color=drawing.BLUE)
    lower.set(xlabel="confidence", ylabel="examples")
    return drawing.save(figure, path)


def _metric_names(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names after ``train_`` and ``val_``, in the order in which they first come."""
    if not history:
        raise ValueError("plots.learning_curves: expected at least one epoch, got an empty history")
    names = {}
    for entry in history:
        for key, value in entry.items():
            part, _, metric = key.partition("_")
            if part in ("train", "val") and metric and isinstance(value, numbers.Real):
                names[metric] = None
    return list(names)


def _rates(history: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The learning rate under no name; those of several parameter groups under theirs."""
    keys = dict.fromkeys(key for entry in history for key in entry if key.startswith(_GROUP))
    found = {key.removeprefix(_GROUP): _series(history, key) for key in keys}
    found = found or {"": _series(history, "learning_rate")}
    return {name: rate for name, rate in found.items() if np.isfinite(rate).any()}


def _series(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Missing, None and infinite values are gaps: nan."""
    values = [entry.get(key) for entry in history]
    series = np.array([math.nan if value is None else float(value) for value in values])
    return np.where(np.isfinite(series), series, math.nan)


def _marker(epochs: Sequence[float]) -> str:
    return "o" if len(epochs) == 1 else ""


def _rate_panel(axis: Any, epochs: Sequence[float], rates: Mapping[str, np.ndarray]) -> None:
    hues = itertools.cycle((drawing.BLUE, *_HUES) if len(rates) > 1 else (drawing.INK,))
    ends = []
    for (name, rate), hue in zip(rates.items(), hues):
        axis.plot(epochs, rate, color=hue, linewidth=1.6, marker=_marker(epochs))
        last = np.flatnonzero(np.isfinite(rate))[-1]
        ends.append((epochs[last], rate[last], drawing.plain_text(name), hue))
    axis.yaxis.set_major_formatter("{x:.3g}")
    axis.set_title("learning rate", loc="left")
    axis.set_ylim(0, 1.05 * max(np.nanmax(rate) for rate in rates.values()) or 1)
    _label_ends(axis, ends)


def _metric_panel(
    axis: Any, history: Sequence[Mapping[str, Any]], epochs: Sequence[float], metric: str
) -> None:
    lines = {"training": ("train", drawing.ORANGE), "validation": ("val", drawing.BLUE)}
    ends = []
    for label, (part, hue) in lines.items():
        values = _series(history, f"{part}_{metric}")
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            continue
        axis.plot(epochs, values, color=hue, linewidth=1.6, marker=_marker(epochs))
        ends.append((epochs[known[-1]], values[known[-1]], label, hue))
        if part == "val":
            _mark_best(axis, epochs, values, largest=not metric.endswith(_FALLING))
    axis.set_title(drawing.plain_text(metric.replace("_", " ")), loc="left")
    _label_ends(axis, ends)


def _mark_best(axis: Any, epochs: Sequence[float], values: np.ndarray, largest: bool) -> None:
    best = int(np.nanargmax(values) if largest else np.nanargmin(values))
    axis.plot(epochs[best], values[best], "o", color=drawing.BLUE, markersize=4.5)
    axis.annotate(
        f"{values[best]:.4g}",
        (epochs[best], values[best]),
        xytext=(0, 6 if largest else -6),
        textcoords="offset points",
        ha="right" if best == len(values) - 1 else "center",  # there the line's name stands
        va="bottom" if largest else "top",
        color=drawing.BLUE,
        fontsize=8,
    )
    axis.margins(y=0.12)


def _label_ends(axis: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names the lines where they end, apart even where they meet."""
    ends = sorted(ends, key=lambda end: end[1])
    low, high = axis.get_ylim()
    heights = [_TALL * (y - low) / (high - low) for _, y, *_ in ends]
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + _LINE) if placed else height)
    shifts = [place - height for place, height in zip(placed, heights, strict=True)]
    middle = sum(shifts) / max(len(shifts), 1)
    for (x, y, label, hue), shift in zip(ends, shifts, strict=True):
        axis.annotate(
            label,
            (x, y),
            xytext=(6, shift - middle),
            textcoords="offset points",
            va="center",
            color=hue,
            fontsize=9,
            annotation_clip=False,
        )


def _name_ticks(axis: Any, names: Sequence[str], size: float) -> None:
    step = math.ceil(len(names) / _NAMED)
    places = range(0, len(names), step)
    shown = [names[place] for place in places]
    axis.set_xticks(places, shown, rotation=45 if len(names) <= _COUNTED else 90, fontsize=size)
    axis.set_yticks(places, shown, fontsize=size)
    axis.tick_params(length=0)
    if len(names) <= _COUNTED:
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _cell_counts(axis: Any, counts: np.ndarray, share: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        hue = "white" if share[row, column] > 0.5 else drawing.INK if count else "#BBBBBB"
        axis.text(column, row, str(count), ha="center", va="center", color=hue, fontsize=9)


def _pictures(where: str, images: ArrayLike, count: int) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"{where}: expected uint8 images, got {images.dtype}")
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"{where}: expected images [N, H, W, C] with C of 1 or 3, got {list(images.shape)}"
        )
    if len(images) != count:
        raise ValueError(f"{where}: expected {count} images, one a label, got {len(images)}")
    return images


def _sample(axis: Any, image: np.ndarray, guess: str, truth: str, confidence: float) -> None:
    right = guess == truth
    hue = drawing.BLUE if right else drawing.ORANGE
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    axis.imshow(image[..., 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
    for spine in axis.spines.values():
        spine.set(color=hue, linewidth=2)
    axis.set_title(f"{guess} {confidence:.0%}", fontsize=8, pad=4)
    axis.set_xlabel("right" if right else f"wrong: {truth}", color=hue, fontsize=8, labelpad=3)
