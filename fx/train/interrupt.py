"""Ctrl-C and SIGTERM as a request to stop, for the time of a run."""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import jax

from fx.train.processes import any_process


@dataclasses.dataclass
class Interrupt:
    """Whether someone has asked the run to stop.

    Attributes:
        asked: A signal has come to this process, or a callback has raised `Stop`.
        requested: The run stops; the same in all of its processes.
    """

    asked: bool = False
    requested: bool = False

    def ask(self) -> None:
        """Stop after this call; where there are several processes, once they have agreed."""
        self.asked, self.requested = True, jax.process_count() == 1 or self.requested

    def agree(self) -> None:
        """Stop where any process was asked to; every process must call this at the same step."""
        self.requested = self.requested or any_process(self.asked)


@contextlib.contextmanager
def catch_signals() -> Iterator[Interrupt]:
    """Turn the first SIGINT or SIGTERM into a request; the second does what it did before.

    The handlers that were there come back at the end. Signals that are ignored stay ignored, and
    outside of the main thread, where Python allows no handlers, nothing is caught.
    """
    interrupt = Interrupt()
    previous: dict[int, Any] = {}

    def give_back() -> None:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def handle(number: int, frame: Any) -> None:
        del frame
        if interrupt.asked:
            give_back()
            signal.raise_signal(number)
        else:
            interrupt.ask()
            # Not print: the signal may have come in the middle of one.
            os.write(2, b"\nstopping after this call; once more to abort at once\n")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        give_back()
