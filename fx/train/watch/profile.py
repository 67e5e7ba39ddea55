"""A trace of chosen calls of a step, by jax's profiler."""

import os
import weakref
from collections.abc import Callable
from typing import Any

import jax

from fx.data.loader import as_integer


def profiled(
    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]],
    folder: str | os.PathLike[str],
    *,
    start: int = 10,
    calls: int = 3,
) -> "Profiled":
    """Wrap a step such that some of its calls are traced.

    What comes back is a step like the one that went in, for `fx.fit` or a loop of one's own. The
    trace has what the device and the host do from the start of the first chosen call to the end of
    the last one's computation, the loop's own work in between included. View it with
    `tensorboard --logdir folder` and the package `xprof`, or, the file that ends in
    `trace.json.gz`, with ui.perfetto.dev; writing it needs neither.

    Args:
        step: `(ts, batch) -> (ts, metrics)`. Its other attributes stay readable.
        folder: Where the trace goes.
        start: The first call to trace, from 0. The first few compile and warm up.
        calls: How many to trace. A call runs `steps_per_call` steps.

    Returns:
        The step. Where a run ends in the middle of the trace, its `close()`, or its end as an
        object, finishes the file.

    Raises:
        TypeError: start or calls that is not an integer.
        ValueError: start below 0, calls below 1; at call `start`, another trace that is under way.

    Example:
        >>> import os, tempfile, jax, jax.numpy as jnp
        >>> folder = tempfile.mkdtemp()
        >>> step = profiled(jax.jit(lambda ts, batch: (ts + batch, {})), folder, start=1, calls=2)
        >>> ts = jnp.zeros(())
        >>> for _ in range(4):
        ...     ts, metrics = step(ts, jnp.ones(()))
        >>> float(ts), os.listdir(folder)
        (4.0, ['plugins'])
    """
    start = as_integer("profiled", "start", start)
    calls = as_integer("profiled", "calls", calls)
    if start < 0:
        raise ValueError(f"profiled: expected start of 0 or more, got {start}")
    if calls < 1:
        raise ValueError(f"profiled: expected calls of 1 or more, got {calls}")
    return Profiled(step, folder, start, calls)


class Profiled:
    """A step that traces some of its calls; see `profiled`.

    Attributes:
        called: Calls so far.
    """

    def __init__(
        self,
        step: Callable[[Any, Any], tuple[Any, dict[str, Any]]],
        folder: str | os.PathLike[str],
        start: int,
        calls: int,
    ) -> None:
        self._step, self._folder = step, folder
        self._start, self._end = start, start + calls
        self._close: weakref.finalize | None = None
        self.called = 0

    def __call__(self, ts: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        """Run the step."""
        number, self.called = self.called, self.called + 1
        if not self._start <= number < self._end:
            return self._step(ts, batch)
        if number == self._start:
            jax.block_until_ready((ts, batch))  # what came before is not of these calls
            self._open()
        try:
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                ts, metrics = self._step(ts, batch)
            if number + 1 == self._end:
                jax.block_until_ready((ts, metrics))
                self.close()
        except BaseException:
            self.close()
            raise
        return ts, metrics

    def __getattr__(self, name: str) -> Any:
        # A copy or an unpickled object asks before there is anything to ask.
        if name == "_step":
            raise AttributeError(name)
        return getattr(self._step, name)

    def close(self) -> None:
        """Finish a trace that is under way."""
        if self._close is not None:
            self._close()

    def _open(self) -> None:
        try:
            jax.profiler.start_trace(os.fspath(self._folder))
        except RuntimeError as error:
            raise ValueError(
                "profiled: expected no other trace under way at the first call to be traced, but "
                f"jax says: {error}; let the other one end, or choose another start"
            ) from error
        # Runs once: at `close`, when the object goes, or when the program ends.
        self._close = weakref.finalize(self, jax.profiler.stop_trace)
