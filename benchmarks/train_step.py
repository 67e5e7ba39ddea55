"""A training step of the reference network: fx against PyTorch, in one run.

    python -m benchmarks.train_step --batch 128 --rounds 5

Each contender has a process of its own; one works at a time, in rounds that take turns. A step
turns a batch of uint8 images, already on the device, into floats, flips and normalises them, and
runs forward, backward and Adam. The first step, with compilation, is apart. Before that, both
sides train the same weights for a few steps, and their losses must agree.

"peak MB" is on a CPU the most that steps after the first ones hold beyond a framework that has
started and done nothing (what the compiler took and kept included), and on a GPU the most that the
framework's allocator has given out (JAX's cannot be reset, so trials of kernels are in it).
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine, worker

EAGER, CHANNELS_LAST = "torch eager", "torch eager, channels-last"
COMPILE, UNJITTED = "torch.compile, channels-last", "fx, un-jitted"
TOLERANCE = 1e-4  # relative: float32 rounding, which Adam's division passes on from step to step
RESULTS = Path(__file__).parent / "results"


class Skipped(Exception):
    """A contender that cannot run here, and why."""


class Runner:
    """The parent's end of a worker."""

    def __init__(self, job: worker.Job, timeout_s: float):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._timeout_s = timeout_s
        self._process = context.Process(target=worker.main, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.hello = self._answer()

    def ask(self, steps: int | None) -> Any:
        """Has the worker run steps, or with None end and say what memory it took."""
        self._pipe.send(steps)
        return self._answer()

    def stop(self) -> None:
        """Ends the worker, whatever it does."""
        self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv() if self._pipe.poll(self._timeout_s) else None
        except EOFError:
            answer = "the process died"
        if answer is None or isinstance(answer, str):
            self.stop()
            raise Skipped(answer or f"no answer within {self._timeout_s:g} s")
        return answer


def agree(options: argparse.Namespace) -> dict[str, Any]:
    """Compares losses, or ends the program."""
    job = worker.Job("agreement", options.batch, "float32", options.device)
    try:
        runner = Runner(job, options.timeout_s)
    except Skipped as reason:
        sys.exit(f"train_step: the check that losses agree did not run: {reason}")
    theirs, ours = runner.hello
    runner.stop()
    worst = max(abs(a - b) / abs(a) for a, b in zip(theirs, ours, strict=True))
    if not worst < TOLERANCE:
        sys.exit(f"train_step: expected equal losses, got torch {theirs} and fx {ours}")
    print(f"losses of the first {len(ours)} steps agree, to {worst:.1e} at worst: {ours}")
    return {"torch": theirs, "fx": ours, "worst_relative_difference": worst}


def contenders(options: argparse.Namespace, device: str) -> list[str]:
    names = [EAGER, CHANNELS_LAST, COMPILE, UNJITTED, "fx"]
    if device == "cpu":
        names.append("fx, JAX's own flags")
    if options.steps_per_call > 1:
        names.append(f"fx, {options.steps_per_call} steps a call")
    return [name for name in names if not options.only or name in options.only]


def begin(name: str, options: argparse.Namespace) -> tuple[Runner, dict[str, Any]]:
    """Starts a contender and runs its first steps."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if name == COMPILE and compiler is None:
        raise Skipped("no C++ compiler")
    job = worker.Job(name, options.batch, options.precision, options.device)
    runner = Runner(job, options.timeout_s)
    _, first_s = runner.ask(1)
    if name != UNJITTED:
        runner.ask(2)  # what a second call still prepares
    return runner, {**runner.hello, "first_step_s": first_s, "images_per_s": []}


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs all rounds; returns what is known of each contender."""
    runners: dict[str, Runner] = {}
    found: dict[str, dict[str, Any]] = {}
    names = contenders(options, options.device_kind)
    for name in names:
        try:
            runners[name], found[name] = begin(name, options)
            print(f"{name}: first step {found[name]['first_step_s']:.2f} s", flush=True)
        except Skipped as reason:
            found[name] = {"skipped": str(reason)}
            print(f"{name}: skipped, {reason}", flush=True)
    for turn in range(options.rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in [name for name in order if name in runners]:
            try:
                steps, seconds = runners[name].ask(1 if name == UNJITTED else options.steps)
                found[name]["images_per_s"].append(options.batch * steps / seconds)
            except Skipped as reason:
                del runners[name]
                found[name] = {"skipped": str(reason)}
    for name, runner in runners.items():
        found[name].update(runner.ask(None))
        runner.stop()
    return found


def summarise(found: dict[str, dict[str, Any]]) -> None:
    """Adds medians and ratios; a ratio is the median over rounds, as these were interleaved."""
    for entry in found.values():
        speeds = entry.get("images_per_s")
        if not speeds:
            continue
        entry["median_images_per_s"] = statistics.median(speeds)
        for peer, field in ((EAGER, "ratio_to_eager"), (CHANNELS_LAST, "ratio_to_channels_last")):
            theirs = found.get(peer, {}).get("images_per_s")
            if theirs:
                ratios = [a / b for a, b in zip(speeds, theirs, strict=True)]
                entry[field] = statistics.median(ratios)


def table(found: dict[str, dict[str, Any]]) -> str:
    head = ("", "first step s", "images/s", "min", "max", "x eager", "x ch.-last", "peak MB")
    rows = [head]
    skipped = []
    for name, entry in found.items():
        if "skipped" in entry:
            skipped.append(f"{name}: skipped, {entry['skipped']}")
            continue
        speeds = entry["images_per_s"]
        peak = entry["device_peak_bytes"] or entry["host_growth_bytes"]
        numbers = [entry["first_step_s"], entry["median_images_per_s"], min(speeds), max(speeds)]
        ratios = [entry.get("ratio_to_eager"), entry.get("ratio_to_channels_last")]
        cells = [f"{numbers[0]:.2f}", *(f"{number:,.0f}" for number in numbers[1:])]
        cells += ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        rows.append((name, *cells, f"{peak / 2**20:,.0f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    return "\n".join([*lines, *skipped])


def device_kind(options: argparse.Namespace) -> str:
    """Judged by the driver's tool, since this process must not start a backend."""
    return "gpu" if options.device == "auto" and shutil.which("nvidia-smi") else "cpu"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    parser.add_argument("--steps", type=int, help="steps in a turn (CPU: 8, GPU: 200)")
    parser.add_argument("--steps-per-call", type=int, help="of the last fx (CPU: none, GPU: 50)")
    parser.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--only", nargs="+", help="contenders, by their names in the table")
    parser.add_argument("--timeout-s", type=float, default=300, help="for any one answer")
    parser.add_argument("--out", type=Path, help="the JSON file")
    options = parser.parse_args(given)
    options.device_kind = device_kind(options)
    gpu = options.device_kind == "gpu"
    options.steps = options.steps or (200 if gpu else 8)
    options.steps_per_call = options.steps_per_call or (50 if gpu else 1)
    name = f"train_step-{options.device_kind}-{options.precision}.json"
    options.out = options.out or RESULTS / name
    return options


def warn_of_load(load: float | None, cores: int) -> None:
    """Says so where others use the machine: threads that wait for each other suffer most."""
    if load is not None and load > cores / 2:
        print(f"load {load} on {cores} cores: these figures will not hold on a quiet machine")


def main() -> None:
    options = arguments()
    here = machine.machine()
    warn_of_load(here["load_at_start"], here["cores"])
    report: dict[str, Any] = {
        "command": "python -m benchmarks.train_step " + " ".join(sys.argv[1:]),
        "versions": machine.versions(),
        "machine": here,
        "batch": options.batch,
        "precision": options.precision,
        "steps_in_a_round": options.steps,
        "agreement": agree(options),
    }
    found = measure(options)
    devices = {entry["device"] for entry in found.values() if "device" in entry}
    if "cpu" in devices and len(devices) > 1:
        sys.exit(f"train_step: expected one device for all, got {sorted(devices)}")
    summarise(found)
    report["device"] = sorted(devices)
    report["contenders"] = found
    print(f"\n{report['machine']}\n{report['versions']}\nbatch {options.batch}", end=", ")
    print(f"{options.precision}, {options.rounds} rounds of {options.steps} steps")
    for name, entry in found.items():
        if "settings" in entry:
            print(f"{name}: {entry['settings']}, {entry['data']}")
    print("\n" + table(found))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
