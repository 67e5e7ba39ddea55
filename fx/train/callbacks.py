"""What listens to a run: progress on the terminal, JSON lines, TensorBoard.

A listener is any callable that takes an `Event`; where it has a `close()`, that is called at the
end of the run, however it ends.
"""

import dataclasses
import importlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from fx.evaluate.files import plain


@dataclasses.dataclass(frozen=True)
class Event:
    """Something to report.

    Attributes:
        kind: "log", every `log_every` steps, or "epoch", at the end of one.
        epoch: The epoch, from 1.
        step: Steps taken since the beginning of training.
        values: "log": means since the last one, and the learning rate. "epoch": the row of the
            history.
        seconds: "epoch": how long it took, evaluation included; "log": since the last one.
        images_per_s: Examples per second of training, without compilation; None where there was
            nothing else.
        ts: The training state. Its arrays are gone after the next step where the step donates
            them; copy what is to be kept.
    """

    kind: str
    epoch: int
    step: int
    values: dict[str, Any]
    seconds: float
    images_per_s: float | None
    ts: Any = dataclasses.field(repr=False)


class JsonLog:
    """Append a line of strict JSON for each event to a file; nan and infinity are null.

    Args:
        path: The file.
        after: Keep only lines up to this step of a file that is there: what came after is about to
            be computed again. None keeps all.
    """

    def __init__(self, path: str | os.PathLike[str], after: int | None = None) -> None:
        self.path = Path(path)
        if after is not None and self.path.exists():
            write_whole(self.path, "".join(_lines_until(self.path, after)))
        self.stream = self.path.open("a")

    def __call__(self, event: Event) -> None:
        """Write one line."""
        line = {"kind": event.kind, "epoch": event.epoch, "step": event.step, **event.values}
        line |= {"seconds": event.seconds, "images_per_s": event.images_per_s}
        self.stream.write(json.dumps(plain(line), allow_nan=False) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class TensorBoard:
    """Write each event's values for TensorBoard.

    Args:
        folder: Where the event files go.
        after: Hide what an earlier run wrote after this step. None hides nothing.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], after: int | None = None) -> None:
        try:
            writer = importlib.import_module("tensorboardX").SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "TensorBoard needs tensorboardX: pip install '.[tensorboard]' in fx's folder"
            ) from error
        self.writer = writer(str(folder), purge_step=None if after is None else after + 1)

    def __call__(self, event: Event) -> None:
        """Write one point for each value."""
        group = "step" if event.kind == "log" else "epoch"
        for name, value in event.values.items():
            if name not in ("epoch", "step"):
                self.writer.add_scalar(f"{group}/{name}", value, event.step)
        if event.images_per_s is not None:
            self.writer.add_scalar(f"{group}/images_per_s", event.images_per_s, event.step)

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()


class Clock:
    """Time left in a run, from the steps that were taken since its start."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.first, self.start = total, 0, 0, time.monotonic()

    def begin(self, done: int) -> None:
        """Start measuring, after the first call and its compilation."""
        self.done = self.first = done
        self.start = time.monotonic()

    def left(self) -> str:
        """Time left as text, or nothing where it is not known yet."""
        if self.done == self.first or self.done >= self.total:
            return ""
        per_step = (time.monotonic() - self.start) / (self.done - self.first)
        seconds = round(per_step * (self.total - self.done))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"


class Silent:
    """Progress that prints notices only."""

    def advance(self, steps: int) -> None:
        """Count steps."""

    def __call__(self, event: Event) -> None:
        """Report an event."""

    def say(self, text: str) -> None:
        """Print a notice."""
        print(text, flush=True)

    def close(self) -> None:
        """End the report."""


class Lines:
    """Progress as plain lines: one an epoch, and one every half minute within long ones."""

    every_s = 30.0

    def __init__(self, epochs: int, steps_per_epoch: int, clock: Clock) -> None:
        self.epochs, self.steps_per_epoch, self.clock = epochs, steps_per_epoch, clock
        self.printed = time.monotonic()

    def advance(self, steps: int) -> None:
        """Count steps."""
        self.clock.done += steps

    def __call__(self, event: Event) -> None:
        """Print an event, where it is time."""
        now = time.monotonic()
        if event.kind == "epoch" or now - self.printed >= self.every_s:
            self.printed = now
            self.say(f"epoch {event.epoch:>3}/{self.epochs}  {_text(event, self.clock)}")

    def say(self, text: str) -> None:
        """Print a notice."""
        print(text, flush=True)

    def close(self) -> None:
        """End the report."""


class Bar:
    """Progress as a bar, for a terminal."""

    def __init__(
        self, epochs: int, steps_per_epoch: int, clock: Clock, console: Any = None
    ) -> None:
        progress = importlib.import_module("rich.progress")
        self.epochs, self.steps_per_epoch, self.clock = epochs, steps_per_epoch, clock
        column = importlib.import_module("rich.table").Column
        columns = (
            progress.BarColumn(bar_width=10, table_column=column(no_wrap=True)),
            progress.MofNCompleteColumn(table_column=column(no_wrap=True)),
            # In a narrow terminal this is what takes a second line.
            progress.TextColumn("{task.description}", markup=False, table_column=column()),
        )
        self.bar = progress.Progress(*columns, console=console)
        self.task = self.bar.add_task("compiling", total=steps_per_epoch)
        self.shown = 0.0
        self.bar.start()

    def advance(self, steps: int) -> None:
        """Count steps, and move the bar at most ten times a second."""
        self.clock.done += steps
        now = time.monotonic()
        if now - self.shown > 0.1:
            self.shown = now
            self.bar.update(self.task, completed=self._into_epoch())

    def __call__(self, event: Event) -> None:
        """Show an event beside the bar; an epoch's goes above it."""
        text = f"epoch {event.epoch:>3}/{self.epochs}  {_text(event, self.clock)}"
        if event.kind == "epoch":
            self.say(text)
        else:
            self.bar.update(self.task, completed=self._into_epoch(), description=text)

    def say(self, text: str) -> None:
        """Print a notice above the bar."""
        self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.update(self.task, visible=False)
        self.bar.stop()

    def _into_epoch(self) -> int:
        done = self.clock.done
        return (done - 1) % self.steps_per_epoch + 1 if done else 0


def make_progress(shown: bool, epochs: int, steps_per_epoch: int, done: int):
    """Choose what reports progress: a bar in a terminal with rich, lines elsewhere.

    Returns:
        Something called with events, with `advance(steps)`, `say(text)` and `close()`, and the
        clock that it reads, to be started when the first call is through.
    """
    clock = Clock(epochs * steps_per_epoch)
    clock.begin(done)
    if not shown:
        return Silent(), clock
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return Bar(epochs, steps_per_epoch, clock), clock
    return Lines(epochs, steps_per_epoch, clock), clock


def write_whole(path: Path, text: str) -> None:
    """Write a file such that there is never half of it."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _lines_until(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] > step:
                continue
        except ValueError:  # the end of a line that was being written when the run was killed
            continue
        kept.append(line)
    return kept


def _text(event: Event, clock: Clock) -> str:
    parts = []
    for name, value in event.values.items():
        if name == "learning_rate":
            parts.append(f"lr {value:.2e}")
        elif name not in ("epoch", "step"):
            parts.append(f"{name.removeprefix('train_')} {value:.4f}")
    if event.images_per_s is not None:
        parts.append(f"{event.images_per_s:,.0f} images/s")
    if event.kind == "epoch":
        parts.append(f"{event.seconds:.1f} s")
    return "  ".join([*parts, clock.left()]).rstrip()
