"""Whether one program over all runs is faster than one run after the other, and fits."""

import os
import time
from typing import Any

import jax

from fx.debug.memory import show_bytes
from fx.train.step import Step

_ROUNDS, _ENOUGH_S = 3, 2.0  # of measuring, whichever comes first
_ROOM = 0.9  # of the device's memory that one program may take


def measure(
    many: Step, stacked: Any, batch: Any, step: Step, alone: Any, single: Any, count: int
) -> tuple[str, str]:
    """Compare one step of all runs with as many steps of one.

    Args:
        many: The step of all runs.
        stacked: A state for it; its memory is reused.
        batch: A batch for it.
        step: The step of one run.
        alone: A state for that; its memory is reused.
        single: A batch for that.
        count: How many runs.

    Returns:
        "vmap" or "loop", and why.
    """
    needed, limit = needed_bytes(many.compiled.lower(stacked, batch).compile()), limit_bytes()
    if needed is not None and limit is not None and needed > _ROOM * limit:
        needs, has = show_bytes(needed), show_bytes(limit)
        return "loop", f"one program would need {needs} of the device's {has}"
    stacked, _ = _timed(many, stacked, batch)  # the first calls compile
    alone, _ = _timed(step, alone, single)
    together_s, alone_s, began = [], [], time.perf_counter()
    while len(together_s) < _ROUNDS and time.perf_counter() - began < _ENOUGH_S:
        stacked, seconds = _timed(many, stacked, batch)
        together_s.append(seconds)
        alone, seconds = _timed(step, alone, single)
        alone_s.append(seconds)
    one, loop = min(together_s), min(alone_s) * count
    why = f"a step of all takes {_ms(one)} in one program, and {_ms(loop)} one by one"
    return ("vmap" if one <= loop else "loop"), why


def needed_bytes(compiled: Any) -> int | None:
    """The memory that a compiled program takes while it runs, its arguments included."""
    stats = compiled.memory_analysis()
    if stats is None:  # not every backend tells
        return None
    sizes = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    return sizes - stats.alias_size_in_bytes


def limit_bytes() -> int | None:
    """The memory of the device, where it can be told."""
    device = jax.devices()[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    if device.platform == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _timed(step: Step, ts: Any, batch: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    ts, metrics = step(ts, batch)
    jax.block_until_ready((ts, metrics))
    return ts, time.perf_counter() - start


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
