"""What the loop costs: `fx.fit` against a bare `for` loop over the same compiled step, in one run.

    python -m benchmarks.loop --steps 1000 --rounds 7 --host-rounds 30

The step is that of a small network, made wide enough to take about 1 ms here. The contenders take
turns in one process, each an epoch at a time: the bare loop, `fit` with a log event at the end of
the epoch only, `fit` with one every 50 steps, and with these and a progress bar, JSON lines and
TensorBoard. A round's overhead is a contender's time less the bare loop's of the same round, over
the number of calls; starting and ending the run, callbacks and logs are in it, checkpoints (which
go by epochs and not by steps) are not.

"the processor's time" is what all threads of the process spend on the same loops around a step of
a tiny network. Nothing of it is hidden behind the device, so it is the most that the loop can
cost. The process has one core (on Linux), so that no thread spins while it waits for another, and
what is counted is work. "the clock's time" is with the step of 1 ms, on all cores.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import fx
from benchmarks.shared import report
from fx import nn, optim

BARE, QUIET, LOGGED, ALL = "bare", "fit", "fit, logs every 50", "fit, logs, bar, JSON, TensorBoard"
LIMIT_US = 50  # 5 % of 1 ms
BATCH = 64


class Same:
    """The loader: one batch, again and again, so that only the loops differ."""

    def __init__(self, batch: tuple[Any, Any], steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int) -> Iterator[Any]:
        """Yields it."""
        for _ in range(self.steps):
            yield self.batch


class Terminal(io.StringIO):
    """What a bar is drawn on."""

    def isatty(self) -> bool:
        """Says yes."""
        return True


def accuracy(outputs: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
    return {"accuracy": (outputs.argmax(1) == targets).mean(dtype=np.float32)}


def build(width: int) -> tuple[fx.train.Step, Any, Any]:
    """A step, its state and a batch on the device."""
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = optim.sgd(1e-4, momentum=0.9)
    step = fx.train.make_step(model, fx.functional.cross_entropy, optimizer, metrics=accuracy)
    ts = fx.train.create(model, step.optimizer, jax.random.key(0))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(BATCH, width)).astype(np.float32)
    return step, ts, jax.device_put((inputs, rng.integers(0, 10, BATCH).astype(np.int32)))


def bare(step: Callable, ts: Any, batches: Same) -> Any:
    """The loop that fit is measured against."""
    metrics = None
    for batch in batches.epoch(0):
        ts, metrics = step(ts, batch)
    jax.block_until_ready((ts, metrics))
    return ts


def fitted(name: str, step: Callable, ts: Any, batches: Same) -> Any:
    """The same epoch by fit."""
    if name != ALL:
        every = len(batches) if name == QUIET else 50
        result = fx.fit(step, ts, batches, epochs=1, log_every=every, progress=False)
        return jax.block_until_ready(result.ts)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(Terminal()):
        logs = [fx.train.JsonLog(f"{folder}/log.jsonl"), fx.train.TensorBoard(folder)]
        result = fx.fit(step, ts, batches, epochs=1, callbacks=logs)
        for log in logs:
            log.close()
    return jax.block_until_ready(result.ts)


def timed(
    name: str, step: Callable, ts: Any, batches: Same, clock: Callable[[], float]
) -> tuple[float, Any]:
    start = clock()
    ts = bare(step, ts, batches) if name == BARE else fitted(name, step, ts, batches)
    return clock() - start, ts


def error_of_median(values: list[float]) -> float:
    """The median's standard error, from the values' quartiles: 1.253 sigma / sqrt(n)."""
    lower, _, upper = statistics.quantiles(values, n=4)
    return float(1.253 * (upper - lower) / 1.349 / len(values) ** 0.5)


def measure(
    step: Callable, ts: Any, batches: Same, rounds: int, clock: Callable[[], float]
) -> dict[str, dict[str, Any]]:
    """Microseconds a call, for each contender and round, and the differences to the bare loop."""
    names = [BARE, QUIET, LOGGED, ALL]
    found: dict[str, dict[str, Any]] = {name: {"us_per_call": []} for name in names}
    for turn in range(-1, rounds):
        for name in names[turn % 4 :] + names[: turn % 4]:
            seconds, ts = timed(name, step, ts, batches, clock)
            if turn >= 0:  # the round before warms up
                found[name]["us_per_call"].append(1e6 * seconds / len(batches))
    for entry in found.values():
        pairs = zip(entry["us_per_call"], found[BARE]["us_per_call"], strict=True)
        entry["overhead_us"] = [own - least for own, least in pairs]
        entry["median_us_per_call"] = statistics.median(entry["us_per_call"])
        entry["median_overhead_us"] = statistics.median(entry["overhead_us"])
        entry["standard_error_us"] = error_of_median(entry["overhead_us"])
        entry["share_of_1_ms"] = entry["median_overhead_us"] / 1000
    return found


def on_one_core(steps: int, rounds: int) -> dict[str, Any]:
    """The processor's time; for a process that has not started JAX, whose threads share a core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    step, ts, batch = build(8)
    return measure(step, ts, Same(batch, steps), rounds, time.process_time)


def widen(least_us: float) -> tuple[int, Any, Any, Any]:
    """The narrowest network whose step takes so long."""
    width = 64
    while True:
        step, ts, batch = build(width)
        batches = Same(batch, 100)
        ts = bare(step, ts, batches)
        seconds, ts = timed(BARE, step, ts, batches, time.perf_counter)
        if 1e6 * seconds / 100 >= least_us or width >= 16384:
            return width, step, ts, batch
        width = width * 5 // 4


def table(found: dict[str, dict[str, Any]]) -> str:
    width = max(map(len, found))
    lines = [f"{'':{width}}  us a call  overhead us   error     min     max  of 1 ms"]
    for name, entry in found.items():
        over = entry["overhead_us"]
        lines.append(
            f"{name:{width}}  {entry['median_us_per_call']:9.1f}  "
            f"{entry['median_overhead_us']:11.1f}  {entry['standard_error_us']:6.1f}  "
            f"{min(over):6.1f}  {max(over):6.1f}  {entry['share_of_1_ms']:7.1%}"
        )
    return "\n".join(lines)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=7)
    parser.add_argument("--steps", type=int, default=1000, help="calls in a round")
    parser.add_argument("--host-rounds", type=int, default=30, help="of the processor's time")
    parser.add_argument("--least-us", type=float, default=900, help="time of the step to look for")
    options = report.parse(parser, "loop", given)
    if options.tiny:
        options.steps, options.rounds, options.host_rounds, options.least_us = 60, 2, 2, 1
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("steps", "rounds", "host_rounds", "tiny")
    found = report.begin("loop", given, **{name: getattr(options, name) for name in names})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        host = pool.apply(on_one_core, (options.steps, options.host_rounds))
    width, step, ts, batch = widen(options.least_us)
    batches = Same(batch, options.steps)
    real = measure(step, ts, batches, options.rounds, time.perf_counter)
    found |= {
        "device": jax.devices()[0].device_kind,
        "step": {"width": width, "batch": BATCH, "calls_in_a_round": options.steps},
        "processor_time": host,
        "clock_time": real,
    }
    print(f"a network {width} wide, batch {BATCH}")
    print(f"\nthe processor's time, a tiny step\n{table(host)}")
    print(f"\nthe clock's time, a step of 1 ms\n{table(real)}")
    worst = max(entry["median_overhead_us"] for entry in host.values())
    print(
        f"\nthe processor's time: {worst:.1f} us a call more at most; 5 % of 1 ms is {LIMIT_US} us"
    )
    report.write(found, options.out)


if __name__ == "__main__":
    main()
