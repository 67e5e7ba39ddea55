"""Compiled evaluation: loss and metrics over a data set, one example at a time."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.data.batch import first_batch, split_batch, targets_of, transformed
from fx.data.listed import as_padded
from fx.donated import check_present
from fx.evaluate.mean import Mean, Sums, combined, sum_and_weight
from fx.train.checks import read_loss, read_metrics
from fx.train.precision import matmul_precision
from fx.train.predict import (
    RUN_AHEAD,
    Padded,
    check_rows,
    forward_of,
    transform_key,
)
from fx.train.state import TrainState

Found = tuple[dict[str, Mean | Sums], dict[str, Any], dict[str, jax.Array]]
_EXAMPLES, _NUMBERS, _ROUNDING = 8, 2**22, 1e-3
"""Examples whose loss is also computed at once, numbers in their outputs, what it may differ by."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `make_eval` makes: `validate(ts) -> {"loss": float, ...}`.

    Attributes:
        sums: `(params, state, batch, mask, number) -> (means, counts, together)`, compiled, of
            batch `number`: a `Mean` of loss and each metric over its examples; how many examples
            there are ("all"), have finite outputs ("finite"), have no loss ("empty"), and have no
            finite value of each metric; of the first batch also loss and metrics of some at once,
            beside their mean.
        loader: Whose `padded()` yields `((inputs, targets), mask)`.
        checked: Has an entry once loss and metrics were found to be means over examples.
    """

    sums: Callable[[Any, Any, Any, jax.Array, Any], Found] = dataclasses.field(repr=False)
    loader: Padded
    checked: list[bool] = dataclasses.field(default_factory=list, repr=False, compare=False)

    def __call__(self, ts: TrainState) -> dict[str, float]:
        """Evaluate a training state."""
        _check_state(ts)
        check_present("make_eval", params=ts.params, state=ts.state)
        return self.average(self.collect(self.sums, ts.params, ts.state))

    def rehearse(self, ts: TrainState, sums: Callable | None = None) -> None:
        """Evaluate one batch, so that what fails does so before an epoch of training."""
        _check_state(ts)
        if (first := first_batch(self.loader.padded())) is None:
            return  # which the evaluation itself says
        batch, mask = first
        found = (sums or self.sums)(ts.params, ts.state, batch, mask, np.int32(0))
        _, number, together = jax.device_get(found)
        _check_loss(jax.tree.map(np.sum, number))
        self._check_together(together)

    def collect(self, sums: Callable, params: Any, state: Any) -> list[Found]:
        """Run `sums`, or a transformed one, over all batches; what it gives, on the host."""
        found = []
        for number, (batch, mask) in enumerate(self.loader.padded()):
            found.append(sums(params, state, batch, mask, np.int32(number)))
            if len(found) > RUN_AHEAD:  # batches that wait for their turn take memory
                jax.block_until_ready(found[-RUN_AHEAD])
        return jax.device_get(found)

    def average(self, found: list[Found]) -> dict[str, float]:
        """Turn the sums of all batches into means, in float64."""
        if not found:
            raise ValueError("make_eval: the loader yielded no example to evaluate")
        parts, counts, pairs = zip(*found, strict=True)
        number = jax.tree.map(lambda *n: int(sum(n)), *counts)
        _check_found(number, float(sum(part["loss"].weight for part in parts)))
        self._check_together(pairs[0])
        return {name: combined([part[name] for part in parts]) for name in parts[0]}

    def _check_together(self, together: dict[str, Any]) -> None:
        if not self.checked:
            _check_together(together)
            if any(np.all(np.isfinite(pair)) for pair in together.values()):
                self.checked.append(True)  # nan is of a batch of one, or of a diverged model


def make_eval(
    model: Any,
    loss_fn: Callable[[Any, Any], jax.Array | Mean],
    loader: Padded | list[Any],
    *,
    metrics: Callable[[Any, Any], dict[str, Any]] | None = None,
    transform: Callable[[Any, Any], Any] | None = None,
    precision: str = "float32",
    key: jax.Array | None = None,
) -> Evaluation:
    """Make a function that evaluates a training state on a data set.

    Loss and metrics are computed for each example by itself, `loss_fn(outputs[i:i+1],
    targets[i:i+1])`, and averaged over examples, in float64. So what is computed from a batch as a
    whole is not the batch's: a metric that is made of sums, an F1 or an R², is to return
    `train.Sums`, one that needs all outputs at once, such as ROC-AUC, belongs in `fx.evaluate`, and
    a loss or metric whose examples weigh differently, a cross entropy with class weights or
    ignore_index, is to return a `train.Mean`; `nn.CrossEntropyLoss` and `nn.NLLLoss` give what it
    is made of by themselves. Without, an example all of whose targets are ignored has no mean,
    0 / 0; that is an error. A model that has diverged is none: its outputs are not finite, and the
    loss that comes back is nan. The first time, loss and metrics of some examples are computed at
    once as well, of outputs with some noise, and it is an error where that is not their mean.

    Args:
        model: Any object with `apply(params, state, *inputs, train) -> (outputs, state)`, whose
            outputs have the batch as their first axis.
        loss_fn: `(outputs, targets) -> loss`, a scalar or a `Mean`. Where targets are None it gets
            the inputs, as in `make_step`.
        loader: Whose `padded()` yields `((inputs, targets), mask)`; or a list of batches.
        metrics: `(outputs, targets) -> {name: scalar, Mean or Sums}`.
        transform: `(inputs, key) -> inputs`, compiled in: normalisation; or a
            `transforms.WithTargets`. The key is None, but where `key` is given.
        precision: As for `make_step`.
        key: PRNG key for what draws in an evaluation: a model when `train` is False, or a
            transform that masks tokens or adds a diffusion model's noise. Batch i gets
            `fold_in(key, i)`, the same at each call, so that epochs can be compared.

    Returns:
        `validate(ts) -> {"loss": float, ...}`, which reads `ts.params` and `ts.state`.

    Raises:
        ValueError: An unknown precision; at the first call, outputs without the batch's axis, a
            loss that is not a scalar; at each call, a loader that yields nothing, examples whose
            loss is nan, or a metric that is finite for none, while the outputs of all are finite.
        TypeError: A loader without `padded` that is no list; a key that is none.

    Example:
        >>> import jax.numpy as jnp
        >>> import fx
        >>> class Double:
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return 2 * x, state
        >>> class Three:
        ...     def padded(self):
        ...         yield (jnp.arange(4.0), jnp.zeros(4)), jnp.array([True, True, True, False])
        >>> validate = make_eval(Double(), lambda y, target: jnp.mean(y - target), Three())
        >>> validate(fx.train.TrainState(0, {}, {}, (), None))
        {'loss': 2.0}
    """
    batches: Padded = as_padded("make_eval", loader)
    forward = forward_of("make_eval", model, precision, key)

    def of_some(outputs: Any, targets: Any) -> dict[str, Mean | Sums]:
        found = read_metrics(metrics, outputs, targets)
        found["loss"] = read_loss(loss_fn, outputs, targets, of_part=True)
        return {name: _as_sums(value) for name, value in found.items()}

    def of_each(outputs: Any, targets: Any) -> dict[str, Mean | Sums]:
        def of_one(*of: Any) -> dict[str, Mean | Sums]:
            try:
                return of_some(*jax.tree.map(lambda leaf: leaf[None], of))
            except Exception as error:
                error.add_note(
                    "make_eval gives loss_fn and metrics one example at a time, as a batch of one"
                )
                raise

        return jax.vmap(of_one)(outputs, targets)

    def together(outputs: Any, targets: Any, mask: jax.Array) -> dict[str, jax.Array]:
        some = _some(mask, jax.tree.leaves(outputs))
        outputs, targets = jax.tree.map(lambda leaf: leaf[some], (outputs, targets))
        outputs = _noisy(outputs)
        at_once, each = of_some(outputs, targets), of_each(outputs, targets)
        return {n: _pair(at_once[n], mean) for n, mean in each.items() if isinstance(mean, Mean)}

    @jax.jit
    def sums(params: Any, state: Any, batch: Any, mask: jax.Array, number: jax.Array) -> Found:
        inputs, targets = split_batch(batch)
        with matmul_precision(precision):
            inputs, targets = transformed(transform, inputs, targets, transform_key(key, number))
            outputs = forward(params, state, inputs, number)
            targets = targets_of(inputs, targets)
            check_rows(outputs, mask.shape[0])
            rows = of_each(outputs, targets)
            mean_rows = {name: row for name, row in rows.items() if isinstance(row, Mean)}
            pairs = jax.lax.cond(
                (number == 0) & (jnp.sum(mask) > 1),
                lambda: together(outputs, targets, mask),
                lambda: {name: _float([jnp.nan] * 3) for name in mean_rows},
            )
        # where, not a product: padding may give nan.
        means = jax.tree.map(lambda row: _sum_where(mask, _float(row)), rows)
        broken = {name: mask & ~jnp.isfinite(row.total) for name, row in mean_rows.items()}
        del broken["loss"]
        flags = {"all": mask, "finite": _finite_rows(outputs, mask), "metrics": broken}
        flags["empty"] = mask & jnp.isnan(rows["loss"].total)
        return means, jax.tree.map(jnp.sum, flags), pairs

    return Evaluation(sums, batches)


def _check_found(number: dict[str, Any], weight: float) -> None:
    """Raise where there was nothing to evaluate, or no value of loss or metrics of good outputs."""
    count = number["all"]
    if not count:
        raise ValueError("make_eval: the loader yielded no example to evaluate")
    if number["finite"] < count:  # the model has diverged: nan is what there is to say
        return
    _check_loss(number | ({} if weight else {"empty": count}))
    for name, broken in number["metrics"].items():
        if broken == count:
            raise ValueError(
                f"make_eval: the metric {name!r} of each of {count} examples is not finite, "
                "although all outputs are; metrics gets one example at a time, and what is "
                "computed from many, as R2 or AUC, has no value there: return train.Sums of what "
                "it is made of, or compute it from train.predict, in a validate of your own "
                "(docs/training.md has both)"
            )


def _check_state(ts: Any) -> None:
    if not hasattr(ts, "params") or not hasattr(ts, "state"):
        raise TypeError(
            f"make_eval: expected a training state, got {type(ts).__name__}; of several give it "
            "one: validate=lambda both: evaluate(both.generator)"
        )


def _check_loss(number: dict[str, Any]) -> None:
    """Raise where examples have no loss, though all outputs are finite."""
    if number["empty"] and number["finite"] == number["all"]:
        raise ValueError(
            f"make_eval: the loss of {number['empty']} of {number['all']} examples is nan, "
            "although all outputs are finite; either targets are out of range (classes are 0 to "
            "K - 1): mend them; or loss_fn, which gets one example at a time, takes the mean over "
            "targets that are all ignored, 0 / 0: return train.Mean(sum, number of targets) instead"
        )


def _check_together(pairs: dict[str, Any]) -> None:
    """Raise where the mean over examples is another thing than what they give at once."""
    for name, pair in pairs.items():
        for at_once, mean, allowed in np.reshape(pair, (-1, 3)).tolist():
            lost = math.isnan(mean) and math.isfinite(at_once)
            if not lost and not abs(at_once - mean) > allowed:
                continue
            what = "the loss" if name == "loss" else f"the metric {name!r}"
            sums = "" if name == "loss" else ", or train.Sums of what it is made of"
            times = at_once / mean if mean else 0.0
            mend = (
                "where examples or targets weigh differently (class weights, ignore_index), return "
                f"train.Mean(sum, weight) in place of the mean{sums}; what compares examples of a "
                "batch belongs in a validate of your own (docs/training.md has all)"
            )
            if times > 1.5 and abs(times - round(times)) < _ROUNDING * times:
                mend = "a sum over the batch is to be divided by its examples, len(outputs)"
            raise ValueError(
                f"make_eval: {what} of several examples at once is {at_once:.6g}, but the mean of "
                f"each by itself {mean:.6g}, and that is what is reported of a data set; {mend}"
            )


def _as_sums(value: Any) -> Mean | Sums:
    found = value if isinstance(value, Sums) else Mean(*sum_and_weight(value))
    return jax.tree.map(jnp.asarray, found)


def _some(mask: jax.Array, outputs: list[Any]) -> jax.Array:
    """The places [K] of some examples, from all over a batch; of a few, some more than once."""
    size = sum(leaf.size // mask.shape[0] for leaf in outputs)  # numbers of an example
    count = min(max(2, min(_EXAMPLES, _NUMBERS // max(size, 1))), mask.shape[0])
    among = jax.random.uniform(jax.random.key(0), (count,), jnp.float32)
    spread = (jnp.arange(count, dtype=jnp.float32) + among) / count  # [0, 1)
    there = jnp.sum(mask, dtype=jnp.int32)
    places = (spread * there.astype(jnp.float32)).astype(jnp.int32)
    return jnp.argsort(~mask, stable=True)[jnp.minimum(places, there - 1)]


def _noisy(outputs: Any) -> Any:
    """Outputs that a last layer of zeros does not make alike; within 0 and 1 where they were.

    All examples have the same noise, so that what is one number for all of them stays one.
    """

    def blend(leaf: jax.Array) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        noise = jax.random.uniform(jax.random.key(1), leaf.shape[1:], jnp.float32)
        return (0.9 * leaf + 0.1 * noise.astype(leaf.dtype)).astype(leaf.dtype)

    return jax.tree.map(blend, outputs)


def _pair(at_once: Any, each: Mean) -> jax.Array:
    """What examples give at once, the mean of what each gives, and how far apart they may be."""
    kind = jnp.result_type(at_once.total)
    digits = float(jnp.finfo(kind).eps) if jnp.issubdtype(kind, jnp.floating) else 0.0
    total, weight = jnp.sum(_float(each.total)), jnp.sum(_float(each.weight))
    value, size = _float(at_once.total) / _float(at_once.weight), jnp.sum(jnp.abs(each.total))
    allowed = max(_ROUNDING, 4 * digits) * jnp.maximum(_float(size) / weight, jnp.abs(value))
    return jnp.stack([value, total / weight, allowed])  # [3]


def _sum_where(mask: jax.Array, rows: jax.Array) -> jax.Array:
    """The sum over a batch's examples, [B, ...], without its padding."""
    kept = mask.reshape(-1, *(1,) * (rows.ndim - 1))
    return jnp.sum(jnp.where(kept, rows, 0), 0)


def _float(value: Any) -> jax.Array:
    return jnp.asarray(value, jnp.result_type(float))


def _finite_rows(outputs: Any, mask: jax.Array) -> jax.Array:
    for leaf in jax.tree.leaves(outputs):
        mask = mask & jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, jnp.ndim(leaf))))
    return mask  # [B]
