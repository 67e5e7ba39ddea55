"""Metrics that run inside a compiled step: jax.numpy, traceable, for any leading shape.

Each is a mean over examples, or over those that ``mask`` keeps, so that padded batches give what
the examples without the padding give. ``confusion_matrix`` is a sum over examples: the matrix of a
data set is the sum of its batches', and ``fx.evaluate.scores`` reads everything else from it.
What needs exact arithmetic or sorting lives there too, in float64 on the host.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fx.evaluate.mean import Mean, Sums


def accuracy(outputs: ArrayLike, targets: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
    """Returns the share of examples whose largest output is at the target.

    Args:
        outputs: scores of any kind, [..., K]; of equal ones the first counts, as in ``argmax``.
        targets: integer labels, [...]. A label outside of 0..K-1 counts as wrong.
        mask: bool [...], True where an example counts; None counts all.

    Returns:
        float32 scalar; nan when nothing counts, and where an output that counts is nan.

    Raises:
        ValueError: ``outputs`` without the axis K, or with a K of 1; ``targets`` or ``mask`` of
            another shape than [...]; no examples.
        TypeError: ``targets`` that are not integers, or ``mask`` that is not bool.

    Example:
        >>> float(accuracy(jnp.array([[2.0, 1.0], [0.5, 3.0]]), jnp.array([0, 0])))
        0.5
    """
    hits, mask = _hits(outputs, targets, mask)
    return _mean(hits, mask)


def classification_metrics(
    outputs: ArrayLike, targets: ArrayLike, ignore_index: int = -100
) -> dict[str, Mean]:
    """Returns ``{"accuracy": Mean}``: what ``fx.train.make_step(metrics=...)`` takes.

    Args:
        outputs: scores, [..., K].
        targets: integer labels, [...].
        ignore_index: the target that does not count, as in ``cross_entropy``; for another one,
            ``functools.partial(classification_metrics, ignore_index=...)``.

    Returns:
        How many targets are hit and how many count, as a ``train.Mean``, two float32 scalars: a
        step divides the one by the other over its batch, evaluation over the whole data set.

    Raises:
        ValueError, TypeError: as ``accuracy``, which returns a plain number.

    Example:
        >>> outputs = jnp.array([[2.0, 1.0], [2.0, 1.0]])
        >>> found = classification_metrics(outputs, jnp.array([0, -100]))["accuracy"]
        >>> print(found.total, found.weight)
        1.0 1.0
    """
    counts = jnp.asarray(targets) != ignore_index
    hits, _ = _hits(outputs, targets, counts)
    return {"accuracy": Mean(jnp.sum(jnp.where(counts, hits, 0)), counts.sum(dtype=jnp.float32))}


def f1_metrics(outputs: ArrayLike, targets: ArrayLike, ignore_index: int = -100) -> dict[str, Sums]:
    """Returns ``{"f1": Sums}``, the macro F1 for ``make_step`` and ``make_eval``, K counts of each.

    Args:
        outputs: scores, [..., K].
        targets: integer labels, [...].
        ignore_index: the target that does not count.

    Returns:
        For each class how often it is hit, named wrongly and missed: ``train.Sums``, float32 [K].
        Their value is the mean F1 of the classes that are named or are targets. A step's is its
        batch's (and ``train_f1`` in a history the mean of these), an evaluation's the whole data
        set's.

    Raises:
        ValueError, TypeError: as ``accuracy``.

    Example:
        >>> outputs = jnp.array([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
        >>> print(f1_metrics(outputs, jnp.array([0, 1, 1]))["f1"].value())
        0.6666667

    Source: ``sklearn.metrics.f1_score(average="macro")``.
    """
    _check_classes("f1_metrics", outputs, targets, "jnp.stack([-z, z], -1) of z [N] are scores")
    outputs, targets, _ = _checked("f1_metrics", outputs, targets, None)
    classes, counts = jnp.arange(outputs.shape[-1]), (targets != ignore_index)[..., None]
    named = counts & (outputs.argmax(-1)[..., None] == classes)  # [..., K]
    wanted = counts & (targets[..., None] == classes)
    found = {"hit": named & wanted, "wrong": named & ~wanted, "missed": wanted & ~named}
    axes = tuple(range(targets.ndim))
    lost = jnp.where(counts[..., 0], _or_nan(jnp.zeros(targets.shape), outputs), 0).sum()
    sums = {name: x.sum(axes, jnp.float32) + lost for name, x in found.items()}
    return {"f1": Sums(sums, macro_f1)}


def macro_f1(sums: dict[str, jax.Array]) -> jax.Array:
    """The mean F1 of the classes that there are, from "hit", "wrong" and "missed", each [K].

    Example:
        >>> counts = {"hit": jnp.array([3.0, 0.0]), "wrong": jnp.zeros(2), "missed": jnp.zeros(2)}
        >>> float(macro_f1(counts))
        1.0
    """
    total = jnp.asarray(2 * sums["hit"] + sums["wrong"] + sums["missed"])
    f1 = 2 * jnp.asarray(sums["hit"]) / jnp.maximum(total, 1)  # 0 of a class that is nowhere
    return f1.sum() / (total > 0).sum(dtype=total.dtype)


def top_k_accuracy(
    outputs: ArrayLike, targets: ArrayLike, k: int = 5, mask: ArrayLike | None = None
) -> jax.Array:
    """Returns the share of examples whose target is among the ``k`` largest outputs.

    Args:
        outputs: scores, [..., K].
        targets: integer labels, [...].
        k: how many of the K classes may be named, 1 to K.
        mask: bool [...], True where an example counts.

    Returns:
        float32 scalar; nan when nothing counts.

    Raises:
        ValueError: ``k`` outside of 1..K, and as ``accuracy``.
        TypeError: as ``accuracy``.

    Example:
        >>> float(top_k_accuracy(jnp.array([[0.5, 0.2, 0.3]]), jnp.array([2]), k=2))
        1.0

    Source: ``sklearn.metrics.top_k_accuracy_score``. Of equal scores that one takes the class with
    the highest index, this one the lowest, so that ``k=1`` is ``accuracy``.
    """
    outputs, targets, mask = _checked("top_k_accuracy", outputs, targets, mask)
    if not 1 <= k <= outputs.shape[-1]:
        raise ValueError(
            f"top_k_accuracy: expected k from 1 to the number of classes, {outputs.shape[-1]}, "
            f"got k={k}"
        )
    # top_k sorts -0.0 below 0.0; here, as in a comparison, they are equal.
    _, best = jax.lax.top_k(jnp.where(outputs == 0, 0, outputs), k)  # [..., k]
    hits = (best.astype(jnp.int32) == targets[..., None]).any(-1)
    return _mean(_or_nan(hits.astype(jnp.float32), outputs), mask)


def cross_entropy(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
    """Returns the mean negative log likelihood of the labels, in nats.

    The same number as ``fx.functional.cross_entropy``; what it adds is the mask.

    Args:
        logits: unnormalised log probabilities, [..., K]; computed in float32 at least.
        labels: integer labels, [...]. One outside of 0..K-1 makes the result nan.
        mask: bool [...], True where an example counts.

    Returns:
        Scalar, float32 (float64 for float64 logits); nan when nothing counts.

    Raises:
        ValueError, TypeError: as ``accuracy``.

    Example:
        >>> round(float(cross_entropy(jnp.zeros((1, 4)), jnp.array([3]))), 4)  # log 4
        1.3863
    """
    logits, labels, mask = _checked("cross_entropy", logits, labels, mask)
    logits = logits.astype(jnp.float64 if logits.dtype == jnp.float64 else jnp.float32)
    classes = logits.shape[-1]
    inside = (labels >= 0) & (labels < classes)
    index = jnp.clip(labels, 0, classes - 1)[..., None]
    chosen = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
    loss = jax.nn.logsumexp(logits, axis=-1) - chosen
    return _mean(jnp.where(inside, loss, jnp.nan), mask)


def perplexity(logits: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
    """Returns exp(cross-entropy): among how many equally likely classes the model hesitates.

    The perplexity of a data set is that of its mean loss, not the mean of its batches'
    perplexities.

    Args:
        logits: unnormalised log probabilities, [..., K].
        labels: integer labels, [...].
        mask: bool [...], True where an example counts.

    Returns:
        Scalar of ``cross_entropy``'s dtype.

    Raises:
        ValueError, TypeError: as ``accuracy``.

    Example:
        >>> round(float(perplexity(jnp.zeros((1, 4)), jnp.array([3]))), 4)
        4.0
    """
    return jnp.exp(cross_entropy(logits, labels, mask))


def confusion_matrix(
    labels: ArrayLike, predictions: ArrayLike, num_classes: int, mask: ArrayLike | None = None
) -> jax.Array:
    """Counts examples by true class (rows) and predicted class (columns).

    Args:
        labels: integer labels, any shape.
        predictions: predicted classes, integers of the same shape.
        num_classes: K; pairs with a class outside of 0..K-1 are counted nowhere.
        mask: bool of the same shape, True where an example counts.

    Returns:
        int32 [K, K]. Matrices of batches add up to that of the data set.

    Raises:
        ValueError: shapes that differ, ``num_classes`` below 1, or no examples.
        TypeError: labels or predictions that are not integers, or ``mask`` that is not bool.

    Example:
        >>> confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), 2).tolist()
        [[1, 0], [1, 1]]

    Source: ``sklearn.metrics.confusion_matrix(labels, predictions, labels=range(K))``.
    """
    labels = _integers("confusion_matrix", "labels", labels)
    predictions = _integers("confusion_matrix", "predictions", predictions)
    if labels.shape != predictions.shape:
        raise ValueError(
            f"confusion_matrix: expected labels and predictions of one shape, "
            f"got {list(labels.shape)} and {list(predictions.shape)}"
        )
    if num_classes < 1:
        raise ValueError(f"confusion_matrix: expected num_classes of 1 or more, got {num_classes}")
    counts = (labels >= 0) & (labels < num_classes) & (predictions >= 0)
    counts &= predictions < num_classes
    if mask is not None:
        counts &= _bools("confusion_matrix", mask, labels.shape)
    cells = jnp.where(counts, labels * num_classes + predictions, num_classes**2)
    flat = jnp.zeros(num_classes**2, jnp.int32).at[cells.reshape(-1)].add(1, mode="drop")
    return flat.reshape(num_classes, num_classes)  # [K, K]


def _hits(
    outputs: ArrayLike, targets: ArrayLike, mask: ArrayLike | None
) -> tuple[jax.Array, jax.Array | None]:
    """1.0 where the largest output is at the target, [...], and the checked mask."""
    mend = "((outputs > 0) == (targets > 0.5)).mean() is the accuracy"
    _check_classes("accuracy", outputs, targets, mend)
    outputs, targets, mask = _checked("accuracy", outputs, targets, mask)
    hits = jnp.argmax(outputs, axis=-1).astype(jnp.int32) == targets
    return _or_nan(hits.astype(jnp.float32), outputs), mask


def _or_nan(values: jax.Array, outputs: jax.Array) -> jax.Array:
    """Values [...], nan where an output [..., K] is: the largest of those is the first class."""
    return jnp.where(jnp.isnan(outputs).any(-1), jnp.nan, values)


def _check_classes(where: str, outputs: ArrayLike, targets: ArrayLike, mend: str) -> None:
    shape = jnp.shape(outputs)
    if shape[-1:] == (1,) or (len(shape) == 1 and jnp.shape(targets) == shape):
        raise ValueError(
            f"{where}: expected outputs [..., K], a score for each of 2 classes or more, got "
            f"{list(shape)}; of one logit for two classes, {mend}"
        )


def _mean(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    if mask is None:
        return values.mean()
    # `where` before the sum: what padding computes may be nan, and nan * 0 is nan.
    return jnp.where(mask, values, 0).sum() / mask.sum().astype(values.dtype)


def _checked(
    where: str, outputs: ArrayLike, targets: ArrayLike, mask: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    outputs = jnp.asarray(outputs)
    if outputs.ndim == 0:
        raise ValueError(f"{where}: expected outputs [..., K], a score per class, got a scalar")
    shape = outputs.shape[:-1]
    if jnp.shape(targets) == outputs.shape and jnp.issubdtype(
        jnp.result_type(targets), jnp.floating
    ):
        raise TypeError(
            f"{where}: expected integer labels {list(shape)}, got probabilities "
            f"{list(outputs.shape)}; pass targets.argmax(-1)"
        )
    targets = _integers(where, "targets", targets)
    if targets.shape != shape:
        second = targets.shape == (*outputs.shape[:1], *outputs.shape[2:])
        raise ValueError(
            f"{where}: expected targets {list(shape)} for outputs {list(outputs.shape)}, "
            f"got {list(targets.shape)}"
            + "; the classes are the last axis here: jnp.moveaxis(outputs, 1, -1)"
            * second
        )
    return outputs, targets, None if mask is None else _bools(where, mask, shape)


def _integers(where: str, name: str, values: ArrayLike) -> jax.Array:
    values = jnp.asarray(values)
    if values.size == 0:
        raise ValueError(f"{where}: expected at least one example, got {name} {list(values.shape)}")
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise TypeError(f"{where}: expected integer {name}, got {values.dtype}")
    return values.astype(jnp.int32)


def _bools(where: str, mask: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{where}: expected a bool mask, got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"{where}: expected mask {list(shape)}, got {list(mask.shape)}")
    return mask
