"""The epochs of one run: calls of the step, totals, checkpoints, events."""

import contextlib
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from fx import checkpoint, optim
from fx.data.epochs import batches_from, closing
from fx.debug.memory import is_out_of_memory, out_of_memory
from fx.evaluate.files import plain
from fx.train.checks import check_arrays, check_returned, check_validation
from fx.train.compiles import slow_start
from fx.train.failure import Diverged
from fx.train.fetch import as_arrays
from fx.train.interrupt import Interrupt
from fx.train.predict import RUN_AHEAD
from fx.train.record import Record, mode_of
from fx.train.step import Step
from fx.train.watch.callbacks import write_whole
from fx.train.watch.event import Event, Stop, added
from fx.train.watch.progress import Clock


@dataclasses.dataclass
class Run:
    """What the epochs of one call of `fit` share.

    Attributes:
        number: Steps taken since the beginning of training.
        listeners: What reports events, the callbacks' findings included; the first is the
            progress report.
        callbacks: What the user wants called with events, before the listeners.
        writer: What writes the checkpoints; None where the run has no folder.
        pending: Metrics that are still on the device, with steps and examples per step.
        kinds: Shapes and dtypes of the batches so far, with steps and examples per step.
        measured: Examples of the epoch, and the seconds that they took without compilation.
        unmeasured: Examples among the pending whose time compilation has spoilt.
        mark: When the time that belongs to the pending began.
        batches: The epoch's batches, while it is under way.
        example: Shapes and dtypes of the batch that came last of a new shape.
        explained: Compilations of the step that were reported.
        written: Steps that had a checkpoint when the run began, or were given one since.
    """

    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]]
    loader: Any
    record: Record
    listeners: list[Any]
    callbacks: list[Any]
    interrupt: Interrupt
    writer: checkpoint.Writer | None
    number: int
    clock: Clock
    log_every: int
    checkpoint_every: int | None
    keep: int
    keep_best: int
    monitor: str | None
    mode: str | None
    pending: list[tuple[dict[str, Any], int, int]] = dataclasses.field(default_factory=list)
    kinds: dict[tuple, tuple[int, int]] = dataclasses.field(default_factory=dict)
    measured: tuple[int, float] = (0, 0.0)
    unmeasured: int = 0
    mark: float = 0.0
    warned: bool = False
    batches: Any = None
    example: Any = None
    explained: int = 0
    callbacks_error: BaseException | None = None

    def __post_init__(self) -> None:
        # What the step was compiled for before this run is not this run's to report.
        self.explained = len(self._reasons())
        self.written = set() if self.writer is None else {*checkpoint.steps(self.writer.run_dir)}

    def train_epoch(self, ts: Any) -> Any:
        """Run what is left of the epoch, or until someone asks to stop."""
        record, length = self.record, len(self.loader)
        started, spent, taken = time.perf_counter(), record.seconds, record.steps
        self.mark, self.measured = started, (0, 0.0)
        self.batches = self._batches()
        with self._enough_memory(ts):
            with closing(self.batches):
                for batch in self.batches:
                    ts, steps = self._call(ts, batch)
                    before, taken = taken, taken + steps
                    if _crosses(before, taken, self.log_every):
                        self._fetch(ts)
                        self.interrupt.agree()
                    if taken < length and _crosses(before, taken, self.checkpoint_every):
                        self._fetch(ts)
                        record.seconds = spent + time.perf_counter() - started
                        self.save(ts)
                        self.mark = time.perf_counter()
                    if self.interrupt.requested or taken > length:
                        break
            self._fetch(ts)
        self.interrupt.agree()
        record.seconds = spent + time.perf_counter() - started
        if taken > length or (taken < length and not self.interrupt.requested):
            came = "more" if taken > length else f"{taken}"
            raise ValueError(f"fit: expected {length} steps an epoch, len(loader), but got {came}")
        return ts

    @contextlib.contextmanager
    def _enough_memory(self, ts: Any) -> Iterator[None]:
        """Devices run behind, and so do their errors: here they come out of what waits for them."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            own = error is not self.callbacks_error and self.example is not None
            if own and is_out_of_memory(error):
                raise out_of_memory(self.step, ts, self.example, error) from error
            raise

    def end_epoch(self, ts: Any, validate: Callable | None) -> Any:
        """Validate, record, save and report; return the state to go on with."""
        started = time.perf_counter()
        with self._kept_for_resume(ts):
            validation = {} if validate is None else check_validation(validate(ts))
            names = [f"val_{name}" for name in validation]
            # Raises where a name is missing: better now than when the epoch is closed.
            told = for_plateau(ts, self.record, names, self.monitor, self.mode)
        self.record.seconds += time.perf_counter() - started
        examples, seconds = self.measured
        speed = examples / seconds if examples else None
        row, timing = self.record.close_epoch(self.number, validation, speed)
        self.batches = None
        best = bool(validation) and self.record.judge(row, self.monitor, self.mode)
        ts = _observe(ts, row.get(told))
        end = ("epoch", row["epoch"], row, timing["seconds"], speed, ts)
        try:
            self.save(ts, best=best)
        except OSError:  # of the history, say: a resume from the checkpoint tells of later epochs
            self._tell(*end)
            raise
        self._tell(*end)
        return ts

    @contextlib.contextmanager
    def _kept_for_resume(self, ts: Any) -> Iterator[None]:
        """Where validation fails, save what the epoch has come to: training it took longer."""
        try:
            yield
        except Exception as error:
            if self.writer is not None and jax.process_count() == 1:
                self.save(ts)
                error.add_note(
                    f"fit: the epoch's training is saved in {self.writer.run_dir}; mend what "
                    "failed, and resume=True goes on with the validation"
                )
            raise

    def save(self, ts: Any, best: bool = False) -> None:
        """Begin to write a checkpoint, and write the history, where the run has a folder."""
        if self.writer is None:
            return
        state: Any = getattr(self.batches, "state", None)  # grain's iterators have one
        self.record.loader = state() if callable(state) else None
        record = self.record.saved()
        self.written.add(self.number)
        hold = self.record.best_steps(self.keep_best, self.written)
        self.writer.save(ts, record, keep=self.keep, best=best, hold=hold)
        if jax.process_index() == 0:
            known = {name: record[name] for name in ("history", "timing", "best")}
            text = json.dumps(plain(known), indent=1, allow_nan=False)
            write_whole(self.writer.run_dir / "history.json", text)

    def say_interrupted(self) -> None:
        """Say where the run stopped, once what it left behind is written."""
        kept = "nothing was saved"
        if self.writer is not None:
            self.writer.wait()
            kept = f"saved in {self.writer.run_dir}; resume=True goes on"
        where = f"epoch {self.record.epoch + 1}, step {self.record.steps} of {len(self.loader)}"
        self.listeners[0].say(f"interrupted in {where}; {kept}")

    def _batches(self) -> Iterator[Any]:
        done, per_call = self.record.steps, getattr(self.step, "steps_per_call", 1)
        if done == len(self.loader):  # interrupted between the last step and validation
            return iter(())
        state = self.record.loader
        return batches_from(self.loader, self.record.epoch, done, per_call, state)

    def _call(self, ts: Any, batch: Any) -> tuple[Any, int]:
        """Run the step once, without waiting for its result."""
        kind = tuple(_shape_dtype(leaf) for leaf in jax.tree.leaves(batch))
        new = kind not in self.kinds
        if new:
            check_arrays(batch)
            self._meet(kind)
            self.example = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(*_shape_dtype(leaf)), batch
            )
        steps, examples = self.kinds[kind]
        called = time.perf_counter()
        if len(self.kinds) == 1 and new and isinstance(self.step, Step):
            self.step.try_size(ts, self.example, examples, getattr(self.loader, "last_size", None))
        found = self.step(ts, batch)
        if new and not isinstance(self.step, Step):
            check_returned(self.number, found)
        ts, metrics = found
        self.pending.append((metrics, steps, examples))
        self.number += steps
        ahead = max(1, RUN_AHEAD // steps)
        if len(self.pending) > ahead:  # batches that wait for their turn take memory
            # One of them will do: all of a call's results are there at once. (Its own method
            # takes a third of the time of jax.block_until_ready.)
            value = next(iter(self.pending[-1 - ahead][0].values()), None)
            if isinstance(value, jax.Array):
                value.block_until_ready()
        self.listeners[0].advance(steps)
        self._explain()
        if new:  # compilation is not training: leave it out of the speed
            jax.block_until_ready(metrics)
            self.unmeasured = sum(count * size for _, count, size in self.pending)
            self.mark = time.perf_counter()
            if len(self.kinds) == 1:
                self._miss_rate(metrics)
                if said := slow_start(self.mark - called):
                    self.listeners[0].say(said)
                self.clock.begin(self.clock.done)
        return ts, steps

    def _miss_rate(self, metrics: dict[str, Any]) -> None:
        """Say what to do where a step of ours does not know its learning rate."""
        if "learning_rate" not in metrics and isinstance(self.step, Step):
            self.listeners[0].say(
                "the learning rate is not in the metrics, because the optimizer's state does not "
                "keep it; make_step(lr=...), with the number or schedule it was made from, has it"
            )

    def _meet(self, kind: tuple) -> None:
        """Take down a new shape of batch; where the step does not tell, say that it compiles."""
        axes = (*kind[0][0], 1, 1) if kind else (1, 1)
        scanned = getattr(self.step, "steps_per_call", 1) > 1
        if self.kinds and not hasattr(self.step, "compilations"):
            first, this = (
                ", ".join(f"{dtype}{list(shape)}" for shape, dtype in each)
                for each in (next(iter(self.kinds)), kind)
            )
            self.listeners[0].say(f"compiling again: the first batch was {first}, this is {this}")
        self.kinds[kind] = (axes[0], axes[1]) if scanned else (1, axes[0])

    def _explain(self) -> None:
        """Say why the step was compiled again, where it was."""
        reasons = self._reasons()
        for reason in reasons[self.explained :]:
            self.listeners[0].say(f"step {self.number} was compiled again: {reason}")
        self.explained = len(reasons)

    def _reasons(self) -> Sequence[str]:
        return getattr(getattr(self.step, "compilations", None), "reasons", ())

    def _fetch(self, ts: Any) -> None:
        """Fetch the metrics that are pending, add them up, and report their means."""
        if not self.pending:
            return
        recent = Record({})
        self._add_pending(recent, ts)
        now = time.perf_counter()
        seconds, self.mark = now - self.mark, now
        count = recent.examples
        timed, self.unmeasured = count - self.unmeasured, 0
        self.pending.clear()
        speed = None
        if timed:
            speed = timed / seconds
            self.measured = self.measured[0] + timed, self.measured[1] + seconds
        means = recent.means()
        if recent.weights.get("loss") != 0 or "skipped" in means:  # else nothing counted
            self._warn(means)
        means |= self.record.rates()
        self._tell("log", self.record.epoch + 1, means, seconds, speed, ts)

    def _add_pending(self, recent: Record, ts: Any) -> None:
        """Add what is pending to the epoch's totals, and to those since the last report."""
        number = self.number - sum(steps for _, steps, _ in self.pending)
        # Steps nearly always report the same names: one group.
        for _, group in itertools.groupby(self.pending, lambda call: call[0].keys()):
            calls = list(group)
            stacked = getattr(self.step, "steps_per_call", 1) > 1
            arrays = as_arrays([(metrics, steps) for metrics, steps, _ in calls], stacked)
            if "finite" in arrays:
                self._check_finite(arrays.pop("finite"), ts, number)
            examples = np.repeat([size for *_, size in calls], [steps for _, steps, _ in calls])
            number += len(examples)
            self.record.add(arrays, examples)
            recent.add(arrays, examples)

    def _check_finite(self, finite: np.ndarray, ts: Any, number: int) -> None:
        """End the run at its first bad step; the step itself has kept the state from before it."""
        if not finite.all():
            first = int(np.argmin(finite))
            raise Diverged(ts, self.record.epoch, self.record.steps + first, number + first + 1)

    def _warn(self, means: dict[str, float]) -> None:
        # Steps that fp16 skipped on the way to its scale have no mean, and there is nothing wrong.
        searching = math.isnan(means.get("loss", 0.0)) and means.get("loss_scale", 0.0) >= 1
        if not self.warned and not searching and not math.isfinite(means.get("loss", 0.0)):
            self.warned = True
            self.listeners[0].say(
                f"step {self.number}: the loss is {means['loss']}; make_step(check_finite=True) "
                "stops at the first such step and says where it began"
            )

    def _tell(
        self, kind: str, epoch: int, values: dict, seconds: float, speed: float | None, ts: Any
    ) -> None:
        # A copy: what a callback does to it must not get into the history.
        event = Event(kind, epoch, self.number, dict(values), seconds, speed, ts)
        try:
            for callback in self.callbacks:
                found = callback(event)
                event = added(event, callback, found)
        except Stop:
            self.interrupt.ask()
        except jax.errors.JaxRuntimeError as error:
            self.callbacks_error = error
            raise
        finally:  # where a callback fails, the logs still have what it failed at
            for listener in self.listeners:
                listener(event)


def for_plateau(
    ts: Any, record: Record, names: list[str], monitor: str | None, mode: str | None
) -> str:
    """The name of what a plateau in the optimizer's state is told at the end of an epoch.

    Args:
        ts: The training state.
        record: The run's.
        names: "val_loss" and others that validation gives; none where there is no validation.
        monitor: As for `fit`.
        mode: As for `fit`.

    Raises:
        ValueError: `monitor` is none of the names; the plateau's mode is not that of the value.
    """
    name = record.watched(dict.fromkeys(names), monitor) if names else "train_loss"
    modes = optim.plateau_modes(getattr(ts, "opt_state", None))
    mode = (mode if names else None) or mode_of(name.removeprefix("val_"))
    if modes <= {mode}:
        return name
    if modes == {"min"} and monitor is None and "val_loss" in names:
        return "val_loss"  # accuracy is what fit watches unless told; the default mode is a loss's
    wrong = (modes - {mode}).pop()
    raise ValueError(
        f"fit: expected the optimizer's reduce_lr_on_plateau to have mode={mode!r}, which is that "
        f"of {name!r}, got {wrong!r}: it would reduce the rate where that improves; pass "
        f"reduce_lr_on_plateau(..., mode={mode!r}), or to fit a monitor (of validate's) of its mode"
    )


def _observe(ts: Any, value: float | None) -> Any:
    """Tell a plateau in the optimizer's state how the epoch went."""
    before = getattr(ts, "opt_state", None)
    if value is None or not optim.has_plateau(before):
        return ts
    return dataclasses.replace(ts, opt_state=optim.observe(before, value))


def _shape_dtype(leaf: Any) -> tuple[tuple[int, ...], Any]:
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)  # a number, in a batch of one's own
    return leaf.shape, leaf.dtype


def _crosses(before: int, after: int, every: int | None) -> bool:
    return every is not None and before // every != after // every
