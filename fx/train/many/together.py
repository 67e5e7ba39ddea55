"""Several runs as one: stacked states, one step over all, one validation over all."""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from fx.evaluate.mean import Sums
from fx.train.compiles import Compilations
from fx.train.guard import has_failed
from fx.train.one_step import rates_in
from fx.train.record import Record, is_rate
from fx.train.state import TrainState
from fx.train.step import Step


@struct.dataclass
class ManyState:
    """The training states of several runs as one pytree.

    Attributes:
        step: Steps taken, int32 [].
        runs: A `TrainState` whose leaves have the runs as their first axis, [S, ...].
        best: `(params, state)` at each run's best epoch but the last, [S, ...]; None without
            validation.
    """

    step: jax.Array
    runs: TrainState
    best: Any


def stack_states(states: Sequence[TrainState], keep_best: bool) -> ManyState:
    """Copy several training states into one, with the runs as a new first axis."""
    runs = stack(*states)
    best = jax.tree.map(jnp.copy, (runs.params, runs.state)) if keep_best else None
    return ManyState(jnp.copy(states[0].step), runs, best)


@jax.jit
def take_run(stacked: Any, index: int) -> Any:
    """Cut one run out of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)


@jax.jit
def stack(*trees: Any) -> Any:
    """Stack trees of one structure along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@jax.jit
def choose(mask: jax.Array, yes: Any, no: Any) -> Any:
    """Take each run from one stacked tree where `mask` [S], else from the other, to the bit."""
    pick = jax.vmap(lambda m, a, b: jnp.where(m, a, b))
    return jax.tree.map(lambda a, b: pick(mask, a, b), yes, no)


def failed_runs(ts: ManyState) -> np.ndarray:
    """Which runs had a step that was not finite, bool [S]; none where none is checked."""
    failed = has_failed(ts.runs.opt_state)
    return np.zeros(ts.runs.step.shape, bool) if failed is None else jax.device_get(failed)


class SayDiverged:
    """A callback that says which runs have diverged, once for each."""

    def __init__(self, names: Sequence[Any]) -> None:
        self.names, self.said = names, np.zeros(len(names), bool)

    def __call__(self, event: Any) -> None:
        """Look at the state, and say what is new."""
        failed = failed_runs(event.ts)
        for run in np.flatnonzero(failed & ~self.said).tolist():
            number = int(jax.device_get(event.ts.runs.step[run])) + 1
            if jax.process_index() == 0:
                print(
                    f"fit_many: run {self.names[run]} stopped at step {number}, whose loss or "
                    "gradients are not finite; the others go on",
                    flush=True,
                )
        self.said |= failed


def run_name(name: str, run: int) -> str:
    """The name of a metric of one run among the metrics of all."""
    return f"{name}[{run}]"


class Watch:
    """Early stopping and best epochs of each run: what the loop's record does for one.

    Attributes:
        records: For each run its history and best epoch, and how long it has waited.
        improved: Runs whose last epoch was their best, bool [S].
        diverged: Runs that had a step that was not finite, bool [S]; they stay as they were before.
    """

    def __init__(
        self, count: int, patience: int | None, monitor: str | None, mode: str | None
    ) -> None:
        self.records = [Record({}) for _ in range(count)]
        self.patience, self.monitor, self.mode = patience, monitor, mode
        self.improved = np.zeros(count, bool)
        self.diverged = np.zeros(count, bool)

    @property
    def active(self) -> np.ndarray:
        """Runs that have not stopped, bool [S]."""
        if self.patience is None:
            return ~self.diverged
        waiting = np.array([record.waited < self.patience for record in self.records])
        return waiting & ~self.diverged

    def see(self, row: dict[str, Any]) -> None:
        """Take down an epoch's row, which holds all runs' numbers."""
        for run, active in enumerate(self.active):
            self.improved[run] = False
            if not active:
                continue
            if row.get(run_name("train_finite", run), 1) < 1:  # alone, it would have ended there
                self.diverged[run] = True
                continue
            mine = _row_of(row, run)
            self.records[run].history.append(mine)
            if any(name.startswith("val_") for name in mine):
                self.improved[run] = self.records[run].judge(mine, self.monitor, self.mode)


def _row_of(row: dict[str, Any], run: int) -> dict[str, Any]:
    """Cut one run's numbers out of the row of all, in the order that the loop gives one run's."""
    ending = run_name("", run)
    own = {name.removesuffix(ending): row[name] for name in row if name.endswith(ending)}
    names = sorted(name.removeprefix("val_") for name in own)
    rates = {name: own.pop(f"val_{name}") for name in names if is_rate(name)}
    own.pop("train_finite", None)
    mine = {name: row[name] for name in ("epoch", "step")}
    for part in ("train_", "val_"):
        names = sorted(name for name in own if name.startswith(part))
        mine |= {name: own[name] for name in sorted(names, key=lambda n: n != f"{part}loss")}
    return mine | rates


class ManyStep(Step):
    """A compiled step over all runs; metrics come back for each run, and as means over them."""

    def __call__(self, ts: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        """Run `steps_per_call` steps of every run."""
        result: Any = super().__call__(ts, batch)
        ts, (means, each) = result
        # Not whether all are finite, which would end the loop: a run that diverges ends alone.
        report: dict[str, Any] = {name: mean for name, mean in means.items() if name != "finite"}
        for name, values in each.items():
            # The loop takes the mean of an epoch's metrics, but of the rate it wants the last.
            runs = range(0 if is_rate(name) else jax.tree.leaves(values)[0].shape[0])
            for run in runs:
                of_run = functools.partial(Entry, run=run)
                report[run_name(name, run)] = jax.tree.map(of_run, values)
        return ts, report


class Entry:
    """One run's share of a metric [S, ...], read on the host: one transfer serves all runs."""

    def __init__(self, values: jax.Array, run: int) -> None:
        self.values, self.run = values, run

    def block_until_ready(self) -> "Entry":
        """Wait until the metric is computed."""
        self.values.block_until_ready()
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(np.asarray(self.values)[self.run], dtype)


def many_steps(step: Step, shared: bool, stops: bool) -> ManyStep:
    """Make one step of all runs from the step of one.

    Args:
        step: The step of one run.
        shared: Whether all runs see the same batches.
        stops: Whether runs can stop on their own.
    """
    each = jax.vmap(step.function, (0, None if shared else 0))

    def function(ts: Any, batch: Any) -> tuple[Any, Any]:
        rows, examples, active, improved = batch
        best = ts.best
        if best is not None:
            weights = (ts.runs.params, ts.runs.state)
            best = jax.lax.cond(
                jnp.any(improved), lambda: choose(improved, weights, best), lambda: best
            )
        runs, metrics = each(ts.runs, examples)
        if stops:
            runs = choose(active, runs, ts.runs)
        steps = rows.shape[0] if step.steps_per_call > 1 else 1
        means = _means(metrics, active)
        return ManyState(ts.step + steps, runs, best), (means, metrics)

    compilations = Compilations(step.compilations.limit)
    compiled = jax.jit(compilations.watch(function), donate_argnums=0)
    return ManyStep(function, compiled, step.optimizer, step.steps_per_call, compilations)


def _means(metrics: dict[str, jax.Array], active: jax.Array) -> dict[str, jax.Array]:
    """Means of metrics [S] or [S, k] over the runs that have neither stopped nor diverged."""
    means: dict[str, Any] = {}
    for name, values in metrics.items():
        if isinstance(values, Sums):
            means[name] = _mean_computed(values, _taken(name, metrics["loss"], active, metrics))
            continue
        if values.dtype == bool and name != "skipped":  # a flag: whether all of them have it
            mask = active.reshape(-1, *[1] * (values.ndim - 1))  # [S] or [S, 1]
            means[name] = jnp.all(values | ~mask, 0)
            continue
        mask = _taken(name, values, active, metrics)
        means[name] = jnp.mean(values, 0, where=mask, dtype=jnp.result_type(float))
    return means


def _taken(name: str, like: jax.Array, active: jax.Array, metrics: dict[str, Any]) -> jax.Array:
    """Which runs count in the mean of a metric over all of them, [S] or, of k steps, [S, k]."""
    mask = active.reshape(-1, *[1] * (like.ndim - 1)) & metrics.get("finite", True)
    if name not in ("skipped", "loss_scale"):
        mask = mask & ~metrics.get("skipped", jnp.asarray(False))
    return jnp.broadcast_to(mask, like.shape)


def _mean_computed(sums: Sums, mask: jax.Array) -> Sums:
    """From sums of each run, what adds up to the mean over the runs of what each comes to."""

    def kept(leaf: jax.Array) -> jax.Array:  # [S, ...] or [k, S, ...]
        wide = mask.reshape(*mask.shape, *[1] * (leaf.ndim - mask.ndim))
        return jnp.swapaxes(jnp.where(wide, leaf, jnp.zeros_like(leaf)), 0, mask.ndim - 1)

    return Sums(
        (jax.tree.map(kept, sums.sums), kept(mask.astype(jnp.int32))), _MeanOverRuns(sums.compute)
    )


@dataclasses.dataclass(frozen=True)
class _MeanOverRuns:
    compute: Callable[[Any], Any]

    def __call__(self, added: Any) -> float:
        """Of sums [S, ...] and steps [S] that count, on the host."""
        sums, steps = added
        runs = [jax.tree.map(operator.itemgetter(i), sums) for i in np.flatnonzero(steps).tolist()]
        return float(np.mean([self.compute(each) for each in runs])) if runs else math.nan


@dataclasses.dataclass(frozen=True)
class Validate:
    """What the loop calls at the end of an epoch: validation of all runs.

    It also tells the watch, and gives the loop a number, "epochs_running", that no longer grows
    once all runs have stopped.

    Attributes:
        checks: One validation for all runs, or one for each.
        watch: Early stopping and best epochs of each run.
    """

    checks: Sequence[Callable[[Any], dict[str, float]]]
    watch: Watch

    def __call__(self, ts: ManyState) -> dict[str, float]:
        """Evaluate all runs."""
        watch = self.watch
        count, active = len(watch.records), watch.active
        if (together := self._together()) is not None:
            found = evaluate_together(together, ts.runs)
        else:
            each = list(self.checks) * (count if len(self.checks) == 1 else 1)
            found = [check(take_run(ts.runs, run)) for run, check in enumerate(each)]
        report = {run_name(n, run): v for run, row in enumerate(found) for n, v in row.items()}
        failed = failed_runs(ts)
        for name in found[0] if found else ():
            values = [row[name] for row, on in zip(found, active & ~failed) if on]
            report[name] = float(np.mean(values)) if values else math.nan
        for name, rates in rates_in(ts.runs.opt_state).items():
            per_run = np.broadcast_to(jax.device_get(rates), (count,)).astype(float).tolist()
            report |= {run_name(name, run): rate for run, rate in enumerate(per_run)}
        epoch = len(watch.records[int(np.argmax(active))].history) + 1
        row = {"epoch": epoch, "step": int(jax.device_get(ts.step))}
        row |= {run_name("train_finite", run): 0 for run in np.flatnonzero(failed).tolist()}
        watch.see({**row, **{f"val_{name}": value for name, value in report.items()}})
        return {**report, "epochs_running": float(epoch if watch.active.any() else 0)}

    def rehearse(self, ts: ManyState) -> None:
        """Evaluate one batch, where the validations can."""
        if (together := self._together()) is not None:
            together.rehearse(ts.runs, _over_runs(together.sums))
            return
        for run, check in enumerate(self.checks):
            if hasattr(check, "rehearse"):
                check.rehearse(take_run(ts.runs, run))  # type: ignore[attr-defined]

    def _together(self) -> Any:
        """The validation that runs as one program, where it shows its compiled part."""
        one = len(self.checks) == 1 and hasattr(self.checks[0], "sums")
        return self.checks[0] if one else None


def evaluate_together(validate: Any, runs: TrainState) -> list[dict[str, float]]:
    """Evaluate all runs in one program."""
    found = validate.collect(_over_runs(validate.sums), runs.params, runs.state)
    return [
        validate.average(jax.tree.map(lambda leaf, run=run: leaf[run], found))
        for run in range(runs.step.shape[0])
    ]


@functools.lru_cache(maxsize=8)  # or each call of fit_many would compile its validation anew
def _over_runs(sums: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.vmap(sums, (0, 0, None, None, None)))
