"""The two ways to train many runs: in one program, and one by one."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from fx import checkpoint
from fx.train.guard import has_failed
from fx.train.loop import Result, fit
from fx.train.many.stacked import ManyBatches
from fx.train.many.together import (
    ManyState,
    ManyStep,
    SayDiverged,
    Validate,
    Watch,
    choose,
    failed_runs,
    many_steps,
    stack_states,
    take_run,
)
from fx.train.record import Record
from fx.train.state import TrainState
from fx.train.step import Step


@dataclasses.dataclass(frozen=True)
class Plan:
    """The arguments of `fit_many`, checked."""

    names: tuple[Any, ...]
    step: Step
    states: list[TrainState]
    loaders: list[Any]
    checks: list[Callable[[Any], dict[str, float]]]
    out: Path | None
    resume: bool
    epochs: int
    judged: dict[str, Any]
    options: dict[str, Any]

    @property
    def stops(self) -> bool:
        """Whether runs may end before the last epoch."""
        return (
            self.judged["patience"] is not None or has_failed(self.states[0].opt_state) is not None
        )

    @property
    def has_begun(self) -> bool:
        """Whether the folder has runs already."""
        return self.out is not None and any(
            (self.out / name).exists() for name in ("0", "checkpoints", "log.jsonl", "history.json")
        )

    def of(self, items: list[Any], run: int) -> Any:
        """The loader or validation of a run."""
        return items[run if len(items) > 1 else 0] if items else None

    def watch(self) -> Watch:
        """A watch over all runs that has seen nothing yet."""
        return Watch(len(self.states), **self.judged)

    def batches(self, watch: Watch) -> ManyBatches:
        """The batches of all runs."""
        return ManyBatches(self.loaders, len(self.states), watch)

    def stacked(self) -> ManyState:
        """The states of all runs."""
        return stack_states(self.states, keep_best=bool(self.checks))


def begun_as(plan: Plan) -> str | None:
    """How the runs in the folder were begun, if there are any to go on with."""
    if plan.out is None or not plan.resume:
        return None
    if plan.out.exists() and checkpoint.steps(plan.out):
        return "vmap"
    return "loop" if (plan.out / "0").exists() else None


def step_of_all(plan: Plan) -> ManyStep:
    """The step of one program."""
    return many_steps(plan.step, len(plan.loaders) == 1, plan.judged["patience"] is not None)


def one_program(plan: Plan, step: ManyStep | None) -> tuple[list[Result], Any]:
    """Run `fx.fit` over all runs as one, and take them apart again."""
    watch, ts = plan.watch(), plan.stacked()
    if plan.resume and plan.out is not None and plan.out.exists() and checkpoint.steps(plan.out):
        _, saved = checkpoint.restore(plan.out, like=ts)
        for row in saved["history"]:
            watch.see(row)
    given: Any = plan.options.get("callbacks", ())
    callbacks = [*([given] if callable(given) else given), SayDiverged(plan.names)]
    whole = fit(
        step or step_of_all(plan),
        ts,
        plan.batches(watch),
        validate=Validate(plan.checks, watch),
        epochs=plan.epochs,
        patience=1 if plan.stops else None,
        monitor="epochs_running",
        mode="max",
        out=plan.out,
        resume=plan.resume,
        **{**plan.options, "callbacks": callbacks},
    )
    watch = plan.watch()
    for row in whole.history:
        watch.see(row)
    weights = whole.ts.best
    if weights is not None:
        runs = whole.ts.runs
        weights = choose(jnp.asarray(watch.improved), (runs.params, runs.state), weights)
    results, kept, failed = [], [], failed_runs(whole.ts)
    for run, (record, active) in enumerate(zip(watch.records, watch.active)):
        own, diverged = take_run(whole.ts.runs, run), None
        stopped = whole.stopped if active else "early"
        if failed[run]:
            stopped, diverged = "diverged", int(jax.device_get(own.step)) + 1
        history, best = record.history, record.best
        results.append(Result(own, history, whole.timing, best, stopped, diverged))
        kept.append(take_run(weights, run) if record.best else None)
    return results, tuple(kept) if plan.checks else None


def one_by_one(plan: Plan) -> tuple[list[Result], Any]:
    """Run `fx.fit` for each run."""
    with contextlib.ExitStack() as stack:
        given: Any = plan.options.get("callbacks", ())
        given = [given] if callable(given) else list(given)
        for callback in given:  # they serve all runs, so that none of these may close them
            if callable(getattr(callback, "close", None)):
                stack.callback(callback.close)
        return _each_alone(plan, given)


def _unclosed(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda event: callback(event)


def _each_alone(plan: Plan, given: list[Any]) -> tuple[list[Result], Any]:
    results, kept = [], []
    for run, ts in enumerate(plan.states):
        if plan.options.get("progress", True):
            print(f"fit_many: run {run + 1} of {len(plan.states)}", flush=True)
        keep = _KeepBest(plan)
        callbacks = [*map(_unclosed, given), *([keep] if plan.checks else [])]
        result = fit(
            plan.step,
            jax.tree.map(jnp.copy, ts),
            plan.of(plan.loaders, run),
            validate=plan.of(plan.checks, run),
            epochs=plan.epochs,
            out=None if plan.out is None else plan.out / str(run),
            resume=plan.resume,
            on_divergence="return",
            **plan.judged,
            **{**plan.options, "callbacks": callbacks},
        )
        results.append(result)
        kept.append(_best_of(plan, run, result, keep))
        if result.stopped == "interrupted":
            break
    return results, tuple(kept) if plan.checks else None


class _KeepBest:
    """Keeps the weights of the best epoch of a run that has no folder."""

    def __init__(self, plan: Plan) -> None:
        self.watch = Record({})
        self.judged = plan.judged["monitor"], plan.judged["mode"]
        self.weights: Any = None

    def __call__(self, event: Any) -> None:
        if event.kind == "epoch" and self.watch.judge(event.values, *self.judged):
            self.weights = jax.tree.map(jnp.copy, (event.ts.params, event.ts.state))


def _best_of(plan: Plan, run: int, result: Result, keep: _KeepBest) -> Any:
    if result.best is None or plan.out is None:
        return keep.weights
    ts, _ = checkpoint.restore(plan.out / str(run), like=result.ts, which="best")
    return ts.params, ts.state
