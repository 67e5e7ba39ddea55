"""The reference network's answers: latency and throughput of fx, PyTorch and onnxruntime.

    python -m benchmarks.inference --batches 1 32 1024

From uint8 images in NumPy to probabilities in NumPy, so that transfers, preprocessing and softmax
are in it, on every side the same; float32. All answers are compared first. The contenders take
turns, with one size of batch after the other; the small ones, whose turns are short, have more
rounds. All of that is done `--starts` times, each with new processes, since a process keeps the
pace that it starts with. p50 and p99 are over all calls of all rounds.
"""

import argparse
import functools
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner, Skipped

EAGER, CHANNELS_LAST = "PyTorch eager", "PyTorch eager, channels-last"
COMPILE, AUTOTUNE, ONNX = "torch.compile", "torch.compile, max-autotune", "onnxruntime"
FX, ENGINE = "fx, jax.jit", "fx, bundle"
PEERS = (EAGER, CHANNELS_LAST, COMPILE, AUTOTUNE, ONNX)
TOLERANCE = 1e-4  # of probabilities, absolute
SMALL, MORE = 64, 6  # batches up to this size have as many times the rounds


def contenders(options: argparse.Namespace, weights: str) -> dict[str, Job]:
    def job(side: str, **more: Any) -> Job:
        given = {"side": side, "weights": weights, **more}
        maker = "benchmarks.sides.inference:Predictor"
        return Job(maker, given, options.device, flags=side in ("fx", "engine"))

    jobs = {
        EAGER: job("torch", channels_last=False),
        CHANNELS_LAST: job("torch", channels_last=True),
        COMPILE: job("torch", channels_last=True, compiled="default"),
        ONNX: job("onnx"),
        FX: job("fx"),
        ENGINE: job("engine"),
    }
    if options.device_kind == "gpu":
        jobs[AUTOTUNE] = job("torch", channels_last=True, compiled="max-autotune")
    return report.chosen(jobs, options.only)


def reference(options: argparse.Namespace, weights: str) -> np.ndarray:
    """Writes weights, and returns PyTorch's answers with them."""
    given = {"network": "convnet", "batch": 1, "precision": "float32"}
    saver = Runner(
        Job("benchmarks.sides.torch_train:Reference", given, "cpu", flags=False), options.timeout_s
    )
    saver.ask("save", weights)
    saver.finish()
    given = {"side": "torch", "weights": weights, "channels_last": False}
    runner = Runner(
        Job("benchmarks.sides.inference:Predictor", given, "cpu", flags=False), options.timeout_s
    )
    expected, _ = runner.ask("outputs", 8)
    runner.finish()
    return expected


def calls(options: argparse.Namespace, batch: int) -> int:
    """About as much work for each size of batch, within bounds."""
    return max(3, min(options.calls, 8 * options.calls // batch))


def rounds(options: argparse.Namespace, batch: int) -> int:
    """More of the short ones: those of a second or so tell little on a busy machine."""
    return options.rounds * (1 if batch > SMALL else MORE)


def measure(options: argparse.Namespace) -> dict[str, race.Found]:
    """Found by batch size."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        expected = reference(options, weights)
        # Empty at the first start, so that first calls stay honest, and used by those after it.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "0"
        found = race.several(
            functools.partial(raced, options, weights, expected), options.starts, options.budget_s
        )
    return {str(batch): by_batch(found, str(batch)) for batch in options.batches}


def raced(
    options: argparse.Namespace, weights: str, expected: np.ndarray, budget_s: float | None
) -> race.Found:
    """One race, with processes of its own; all sizes of batch together."""
    with Race(contenders(options, weights), options.timeout_s, budget_s) as contest:

        def first(name: str, runner: Runner) -> dict[str, Any]:
            apart = float(np.abs(runner.ask("outputs", 8)[0] - expected).max())
            if not apart < TOLERANCE:
                raise Skipped(f"not the same mathematics: probabilities {apart:.1e} apart")
            firsts = {str(batch): runner.ask("run", batch, 1)[1] for batch in options.batches}
            return {"apart": apart, "first_call_s": firsts}

        def turn(batch: int, name: str, runner: Runner) -> dict[str, Any]:
            done, seconds = runner.ask("run", batch, calls(options, batch))
            return done | {"batch": batch, "seconds": seconds}

        contest.start(first)
        for batch in options.batches:
            contest.rounds(rounds(options, batch), functools.partial(turn, batch))
        return contest.finish()


def by_batch(found: race.Found, batch: str) -> race.Found:
    """What was found, for one size of batch, with throughput and latencies summarised."""
    chosen: race.Found = {}
    for name, entry in found.items():
        chosen[name] = dict(entry)
        if "rounds" in entry:
            rows = [row for row in entry["rounds"] if row["batch"] == int(batch)]
            several = [x for row in rows for x in row["latencies_s"]]
            chosen[name]["rounds"] = [{k: row[k] for k in ("count", "seconds")} for row in rows]
            chosen[name]["first_s"] = chosen[name].pop("first_call_s")[batch]
            chosen[name]["p50_ms"] = 1e3 * statistics.median(several)
            chosen[name]["p99_ms"] = 1e3 * float(np.quantile(several, 0.99))
            chosen[name]["calls"] = len(several)
    race.summarise(chosen, PEERS)
    return chosen


def table(found: race.Found) -> str:
    rows = [
        (name, *(f"{entry[k]:,.2f}" for k in ("p50_ms", "p99_ms")), f"{entry['median']:,.0f}")
        for name, entry in found.items()
        if "rounds" in entry
    ]
    return report.table(("", "p50 ms", "p99 ms", "images/s"), rows)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 1024])
    parser.add_argument("--starts", type=int, default=1, help="of all processes, for --rounds each")
    parser.add_argument("--calls", type=int, default=200, help="in a turn at batch 1 to 8")
    options = report.parse(parser, "inference", given)
    if options.tiny:
        options.batches, options.calls = [1, 4], 3
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("batches", "starts", "rounds", "calls", "tiny")
    found = report.begin("inference", given, **{name: getattr(options, name) for name in names})
    found["unit"] = "images/s"
    found["batches"] = measure(options)
    for batch, entries in found["batches"].items():
        print(f"\nbatch {batch}\n{table(entries)}")
    report.write(found, options.out)


if __name__ == "__main__":
    main()
