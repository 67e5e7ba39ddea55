"""Progress on the terminal: a bar, plain lines, or notices only."""

import importlib
import importlib.util
import sys
import time
from collections.abc import Iterable
from typing import Any

import jax

from fx.train.checks import REPORTED_BY_PART
from fx.train.watch.event import Event, numbers_in


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
    """Progress that prints notices only; muted, not even these: other processes print them."""

    def __init__(self, mute: bool = False) -> None:
        self.mute = mute

    def advance(self, steps: int) -> None:
        """Count steps."""

    def __call__(self, event: Event) -> None:
        """Report an event."""

    def say(self, text: str) -> None:
        """Print a notice."""
        if not self.mute:
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
            self.say("  ".join(_parts(event, self.epochs, self.clock)))

    def say(self, text: str) -> None:
        """Print a notice."""
        print(text, flush=True)

    def close(self) -> None:
        """End the report."""


class Bar:
    """Progress as a bar, for a terminal.

    The values stand beside the bar where they fit, else below it, over the whole width. It is drawn
    as plain text, at half of what a bar of rich's own costs.
    """

    width = 10  # columns of the bar itself, where there is room

    def __init__(
        self, epochs: int, steps_per_epoch: int, clock: Clock, console: Any = None
    ) -> None:
        self.epochs, self.steps_per_epoch, self.clock = epochs, steps_per_epoch, clock
        self.console = (
            importlib.import_module("rich.console").Console() if console is None else console
        )
        self.text = importlib.import_module("rich.text").Text
        self.parts = ["compiling"]
        live = importlib.import_module("rich.live").Live
        self.live = live(get_renderable=self._picture, console=self.console, transient=True)
        self.live.start()

    def advance(self, steps: int) -> None:
        """Count steps; the bar is drawn four times a second."""
        self.clock.done += steps

    def __call__(self, event: Event) -> None:
        """Show an event beside the bar; an epoch's goes above it."""
        parts = _parts(event, self.epochs, self.clock)
        if event.kind == "epoch":
            self.say("  ".join(parts))
        else:
            self.parts = parts

    def say(self, text: str) -> None:
        """Print a notice above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away."""
        self.live.stop()

    def _into_epoch(self) -> int:
        done = self.clock.done
        return (done - 1) % self.steps_per_epoch + 1 if done else 0

    def _picture(self) -> Any:
        """The bar and the values, as wide as the terminal is now."""
        room, done = self.console.width, self._into_epoch()
        count = f" {done:>{len(str(self.steps_per_epoch))}}/{self.steps_per_epoch} "
        width = max(0, min(self.width, room - len(count) - len(self.parts[0])))
        one = _rows(self.parts, room - width - len(count))
        beside, below = (one[0], []) if len(one) == 1 else (self.parts[0], self.parts[1:])
        full = width * done // self.steps_per_epoch
        line = "-" if self.console.options.ascii_only else "━"
        rest = line if self.console.color_system and not self.console.no_color else " "
        return self.text.assemble(
            (line * full, "bar.complete"),
            (rest * (width - full), "bar.back"),
            (count, "progress.download"),
            "\n".join([beside, *_rows(below, room)]),
        )


def make_progress(shown: bool, epochs: int, steps_per_epoch: int, done: int):
    """Choose what reports progress: a bar in a terminal with rich, lines elsewhere.

    A notebook is no terminal: it gets lines.

    Returns:
        Something called with events, with `advance(steps)`, `say(text)` and `close()`, and the
        clock that it reads, to be started when the first call is through.
    """
    clock = Clock(epochs * steps_per_epoch)
    clock.begin(done)
    if jax.process_index() != 0:
        return Silent(mute=True), clock
    if not shown:
        return Silent(), clock
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return Bar(epochs, steps_per_epoch, clock), clock
    return Lines(epochs, steps_per_epoch, clock), clock


def _is_detail(name: str) -> bool:
    """Whether a number is one of many: a layer's ("update_ratio/fc1"), or a run's ("loss[3]")."""
    of, slash, _ = name.removeprefix("train_").partition("/")
    return name.endswith("]") or (bool(slash) and of in REPORTED_BY_PART)


def _parts(event: Event, epochs: int, clock: Clock) -> list[str]:
    """What there is to say about an event, in pieces that a line must not tear apart."""
    parts = [f"epoch {event.epoch:>3}/{epochs}"]
    for name, value in numbers_in(event).items():
        if name == "learning_rate":
            parts.append(f"lr {value:.2e}")
        elif name.removeprefix("train_") == "skipped":
            parts += [f"skipped {value:g}"] if value else []
        elif name not in ("epoch", "step", "finite") and not _is_detail(name):
            parts.append(f"{name.removeprefix('train_')} {value:.4f}")
    if event.images_per_s is not None:
        parts.append(f"{event.images_per_s:,.0f} examples/s")
    if event.kind == "epoch":
        parts.append(f"{event.seconds:.1f} s")
    return [*parts, left] if (left := clock.left()) else parts


def _rows(parts: Iterable[str], width: int) -> list[str]:
    """Set the pieces in rows of at most this width; one that is wider has a row of its own."""
    rows: list[str] = []
    for part in parts:
        if rows and len(rows[-1]) + 2 + len(part) <= width:
            rows[-1] += f"  {part}"
        else:
            rows.append(part)
    return rows
