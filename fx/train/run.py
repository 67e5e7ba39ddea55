"""The epochs of one run: calls of the step, totals, checkpoints, events."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fx import checkpoint
from fx.evaluate.files import plain
from fx.train.callbacks import Clock, Event, write_whole
from fx.train.interrupt import Interrupt
from fx.train.predict import RUN_AHEAD
from fx.train.record import Record


@dataclasses.dataclass
class Run:
    """What the epochs of one call of `fit` share.

    Attributes:
        number: Steps taken since the beginning of training.
        listeners: What is called with events; the first is the progress report.
        pending: Metrics that are still on the device, with steps and examples per step.
        kinds: Shapes and dtypes of the batches so far, with steps and examples per step.
        measured: Examples of the epoch, and the seconds that they took without compilation.
        unmeasured: Examples among the pending whose time compilation has spoilt.
        mark: When the time that belongs to the pending began.
    """

    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]]
    loader: Any
    record: Record
    listeners: list[Any]
    interrupt: Interrupt
    folder: Path | None
    number: int
    clock: Clock
    log_every: int
    checkpoint_every: int | None
    pending: list[tuple[dict[str, Any], int, int]] = dataclasses.field(default_factory=list)
    kinds: dict[tuple, tuple[int, int]] = dataclasses.field(default_factory=dict)
    measured: tuple[int, float] = (0, 0.0)
    unmeasured: int = 0
    mark: float = 0.0
    warned: bool = False

    def train_epoch(self, ts: Any) -> Any:
        """Run what is left of the epoch, or until someone asks to stop."""
        record, length = self.record, len(self.loader)
        started, spent, taken = time.perf_counter(), record.seconds, record.steps
        self.mark, self.measured = started, (0, 0.0)
        with _closing(self._batches()) as batches:
            for batch in batches:
                ts, steps = self._call(ts, batch)
                before, taken = taken, taken + steps
                if _crosses(before, taken, self.log_every):
                    self._fetch(ts)
                if taken < length and _crosses(before, taken, self.checkpoint_every):
                    self._fetch(ts)
                    record.seconds = spent + time.perf_counter() - started
                    self.save(ts)
                    self.mark = time.perf_counter()
                if self.interrupt.requested or taken > length:
                    break
        self._fetch(ts)
        record.seconds = spent + time.perf_counter() - started
        if taken > length or (taken < length and not self.interrupt.requested):
            came = "more" if taken > length else f"{taken}"
            raise ValueError(f"fit: expected {length} steps an epoch, len(loader), but got {came}")
        return ts

    def end_epoch(
        self, ts: Any, validate: Callable | None, monitor: str | None, mode: str | None
    ) -> None:
        """Validate, record, save and report."""
        started = time.perf_counter()
        validation = {} if validate is None else validate(ts)
        self.record.seconds += time.perf_counter() - started
        examples, seconds = self.measured
        speed = examples / seconds if examples else None
        row, timing = self.record.close_epoch(self.number, validation, speed)
        best = bool(validation) and self.record.judge(row, monitor, mode)
        self.save(ts, best=best)
        self._tell("epoch", row["epoch"], row, timing["seconds"], speed, ts)

    def save(self, ts: Any, best: bool = False) -> None:
        """Write a checkpoint and the history, where the run has a folder."""
        if self.folder is None:
            return
        record = dataclasses.asdict(self.record)
        checkpoint.save(self.folder, ts, record, best=best)
        if jax.process_index() == 0:
            known = {name: record[name] for name in ("history", "timing", "best")}
            text = json.dumps(plain(known), indent=1, allow_nan=False)
            write_whole(self.folder / "history.json", text)

    def _batches(self) -> Iterator[Any]:
        done, per_call = self.record.steps, getattr(self.step, "steps_per_call", 1)
        if done == len(self.loader):  # interrupted between the last step and validation
            return iter(())
        options = {"start": done} if done else {}
        if per_call > 1:
            options["steps_per_call"] = per_call
        return iter(self.loader.epoch(self.record.epoch, **options))

    def _call(self, ts: Any, batch: Any) -> tuple[Any, int]:
        """Run the step once, without waiting for its result."""
        kind = tuple((np.shape(leaf), leaf.dtype) for leaf in jax.tree.leaves(batch))
        new = kind not in self.kinds
        if new:
            self._meet(kind)
        steps, examples = self.kinds[kind]
        ts, metrics = self.step(ts, batch)
        self.pending.append((metrics, steps, examples))
        self.number += steps
        ahead = max(1, RUN_AHEAD // steps)
        if len(self.pending) > ahead:  # batches that wait for their turn take memory
            jax.block_until_ready(self.pending[-1 - ahead][0])
        self.listeners[0].advance(steps)
        if new:  # compilation is not training: leave it out of the speed
            jax.block_until_ready(metrics)
            self.unmeasured = sum(count * size for _, count, size in self.pending)
            self.mark = time.perf_counter()
            if len(self.kinds) == 1:
                self.clock.begin(self.clock.done)
        return ts, steps

    def _meet(self, kind: tuple) -> None:
        """Take down a new shape of batch, and say so where it compiles the step again."""
        axes = (*kind[0][0], 1, 1) if kind else (1, 1)
        scanned = getattr(self.step, "steps_per_call", 1) > 1
        if self.kinds:
            first, this = (
                ", ".join(f"{dtype}{list(shape)}" for shape, dtype in each)
                for each in (next(iter(self.kinds)), kind)
            )
            self.listeners[0].say(f"compiling again: the first batch was {first}, this is {this}")
        self.kinds[kind] = (axes[0], axes[1]) if scanned else (1, axes[0])

    def _fetch(self, ts: Any) -> None:
        """Fetch the metrics that are pending, add them up, and report their means."""
        if not self.pending:
            return
        fetched = jax.device_get([metrics for metrics, _, _ in self.pending])
        now = time.perf_counter()
        seconds, self.mark = now - self.mark, now
        sums: dict[str, float] = {}
        for metrics, (_, steps, examples) in zip(fetched, self.pending):
            for name, total in self.record.add(metrics, steps, examples).items():
                sums[name] = sums.get(name, 0.0) + total
        count = sum(steps * examples for _, steps, examples in self.pending)
        timed, self.unmeasured = count - self.unmeasured, 0
        self.pending.clear()
        speed = None
        if timed:
            speed = timed / seconds
            self.measured = self.measured[0] + timed, self.measured[1] + seconds
        means = {name: total / count for name, total in sums.items()}
        self._warn(means)
        if self.record.learning_rate is not None:
            means["learning_rate"] = self.record.learning_rate
        self._tell("log", self.record.epoch + 1, means, seconds, speed, ts)

    def _warn(self, means: dict[str, float]) -> None:
        if not self.warned and not math.isfinite(means.get("loss", 0.0)):
            self.warned = True
            self.listeners[0].say(f"step {self.number}: the loss is {means['loss']}")

    def _tell(
        self, kind: str, epoch: int, values: dict, seconds: float, speed: float | None, ts: Any
    ) -> None:
        event = Event(kind, epoch, self.number, values, seconds, speed, ts)
        for listener in self.listeners:
            listener(event)


def _crosses(before: int, after: int, every: int | None) -> bool:
    return every is not None and before // every != after // every


@contextlib.contextmanager
def _closing(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:  # a generator may hold a thread that reads ahead
            close()
