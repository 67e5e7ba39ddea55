"""The speedrun: CIFAR-10 to 94 or 96 % with fx, and with the program that its recipe is from.

    FX_DATA_DIR=... python -m benchmarks.speedrun --target 94 --runs 50 --reference cifar10-airbench

Without `--reference`, a checkout of https://github.com/KellerJordan/cifar10-airbench, fx runs
alone. Each contender is a process that trains again and again, as its authors wrote it: nothing in
the reference is changed, it is ended when it has shown as many runs as asked for. It is timed by
its own clock, which leaves out loading the data set and its accuracy after each epoch; fx has
neither. The first run has compilation in it and stands apart. The cold start is the time from
starting the process, with empty caches, to the end of that run; the reference's for 94 % trains on
random labels then, which takes as long, so its accuracy is left out.

"Not compiled" is for 94 % the same program with torch.compile switched off, and for 96 % the
older one without it, whose recipe fx follows; the compiled one for 96 % also leaves out easy
images. Where torchvision is not installed, the one class of it that they use is replaced.
"""

import argparse
import contextlib
import importlib.util
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fx
from benchmarks.shared import race, report
from benchmarks.shared.stages import end_group

FX, COMPILED, EAGER = "fx", "reference, torch.compile", "reference, not compiled"
PEERS = (COMPILED, EAGER)
ROOT = Path(__file__).parent.parent
OURS = re.compile(r"run \d+: test accuracy (\S+) in (\S+) s")


class Program(NamedTuple):
    """What a contender starts.

    Attributes:
        script: a path, in the reference's checkout where it is not fx's.
        warm_ups: first runs whose accuracy means nothing.
        env: more of the environment.
    """

    script: str
    warm_ups: int = 0
    env: tuple[tuple[str, str], ...] = ()


OFF = (("TORCH_COMPILE_DISABLE", "1"), ("TORCHDYNAMO_DISABLE", "1"))
PROGRAMS = {
    94: {
        COMPILED: Program("airbench94_muon.py", warm_ups=1),
        EAGER: Program("airbench94_muon.py", warm_ups=1, env=OFF),
    },
    96: {COMPILED: Program("airbench96_faster.py"), EAGER: Program("legacy/airbench96.py")},
}


def one_run(line: str) -> tuple[float, float] | None:
    """A run's accuracy and seconds, from the line that either program ends it with."""
    if found := OURS.match(line):
        return float(found[1]), float(found[2])
    cells = [cell.strip() for cell in line.split("|")]
    return (float(cells[-3]), float(cells[-2])) if "eval" in cells else None


def watch(
    command: list[str], env: dict[str, str], cwd: Path, runs: int, limit_s: float
) -> list[tuple[float, float, float]]:
    """Start a program; returns accuracy, seconds, and seconds since the start, of each run.

    It is ended after so many runs, or when its time is over.
    """
    found: list[tuple[float, float, float]] = []
    last = "the process died"
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        late = threading.Timer(max(limit_s, 0), end_group, [process])
        late.start()
        try:
            for line in process.stdout or ():
                last = line.strip() or last
                if run := one_run(line):
                    found.append((*run, time.perf_counter() - begun))
                    print(last, file=sys.stderr, flush=True)
                if len(found) == runs:
                    break
        finally:
            late.cancel()
            end_group(process)
    if len(found) < 2:
        over = time.perf_counter() - begun >= limit_s
        raise race.Skipped(f"not done within {limit_s:.0f} s" if over else last[:200])
    return found


def prepare(folder: Path) -> None:
    """Write the tensors that the reference reads, and what it needs of torchvision."""
    import torch

    (folder / "cifar10").mkdir()
    for split in ("train", "test"):
        known = fx.data.cifar10(split)
        tensors = {
            "images": torch.from_numpy(known.inputs[:]),
            "labels": torch.from_numpy(known.targets[:]).long(),
            "classes": list("0123456789"),
        }
        torch.save(tensors, folder / "cifar10" / f"{split}.pt")
    if importlib.util.find_spec("torchvision") is None:
        package = folder / "torchvision"
        package.mkdir()
        (package / "__init__.py").touch()
        shutil.copy(ROOT / "benchmarks/sides/torchvision_normalize.py", package / "transforms.py")


def start(
    name: str, number: int, folder: Path, options: argparse.Namespace, left_s: float
) -> dict[str, Any]:
    """One process of a contender: its cold start and its runs."""
    env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    paths = [str(ROOT if name == FX else folder), env.get("PYTHONPATH", "")]
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if options.device == "cpu":
        env |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    if name == FX:
        command = [*options.fx, "--target", str(options.target), "--runs", str(options.runs)]
        command += ["--seed", str(number * options.runs)]
        warm_ups = 0
    else:
        program = PROGRAMS[options.target][name]
        command, warm_ups = [str(options.reference / program.script)], program.warm_ups
        env |= program.env
    runs = warm_ups + (options.runs if name == FX else options.reference_runs)
    with tempfile.TemporaryDirectory() as empty:
        env |= {"TORCHINDUCTOR_CACHE_DIR": empty, "TRITON_CACHE_DIR": empty}
        found = watch([sys.executable, *command], env, folder, runs, left_s)
    accuracies, seconds, ends = zip(*found, strict=True)
    return {
        "cold_s": ends[0],
        "first_s": seconds[0],
        "seconds": list(seconds[1:]),
        "accuracies": list(accuracies[warm_ups:]),
    }


def measure(options: argparse.Namespace) -> race.Found:
    """Start every contender in each round."""
    begun = time.perf_counter()
    names = [FX, *(PROGRAMS[options.target] if options.reference else ())]
    found: race.Found = {
        n: {"rounds": []} for n in report.chosen(dict.fromkeys(names), options.only)
    }
    device = gpu_name() if options.device_kind == "gpu" else "cpu"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.reference:
            prepare(folder)
        for number in range(options.rounds):
            for name in [n for n in found if "rounds" in found[n]]:
                spent = time.perf_counter() - begun
                left_s = min(options.timeout_s, (options.budget_s or 1e6) - spent)
                try:
                    if left_s < 1:
                        raise race.Skipped("no time was left to start it")
                    found[name]["rounds"].append(start(name, number, folder, options, left_s))
                    found[name]["device"] = device
                except race.Skipped as reason:
                    print(f"{name}: skipped, {reason}", file=sys.stderr, flush=True)
                    if not found[name]["rounds"]:
                        found[name] = {"skipped": str(reason)}
    summarise(found)
    return found


def summarise(found: race.Found) -> None:
    """Add times and accuracy over all runs, and how many times a peer's time that is."""
    ran = {name: entry for name, entry in found.items() if entry.get("rounds")}
    for entry in ran.values():
        rounds = entry["rounds"]
        entry |= race.spread([s for row in rounds for s in row["seconds"]])
        for key in ("cold_s", "first_s"):
            entry[key] = statistics.median(row[key] for row in rounds)
        seen = fx.evaluate.summarize(np.concatenate([row["accuracies"] for row in rounds]))
        entry |= {"accuracy": seen.mean, "runs": seen.count}
        entry["accuracy_interval"] = [seen.low, seen.high] if seen.count > 1 else None
    for entry in ran.values():
        entry["ratios"] = {p: entry["median"] / ran[p]["median"] for p in PEERS if p in ran}


def gpu_name() -> str:
    """As the driver calls the first GPU; the parent starts no backend."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    text = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    return text.splitlines()[0].strip()


def commit(checkout: Path | None) -> str:
    """Which version of the reference that is."""
    if checkout is None:
        return "none"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"


def table(found: race.Found) -> str:
    rows = []
    for name, e in found.items():
        if "skipped" in e:
            rows.append((name, e["skipped"], "", "", "", "", ""))
            continue
        low, high = e["accuracy_interval"] or (float("nan"),) * 2
        interval = f"{e['accuracy']:.2%} ({low:.2%} to {high:.2%})"
        times = (f"{e[key]:.2f}" for key in ("median", "low", "high", "first_s", "cold_s"))
        rows.append((name, f"{interval}, n = {e['runs']}", *times))
    return report.table(("", "accuracy", "s a run", "min", "max", "first run", "cold start"), rows)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=1)
    parser.add_argument("--target", type=int, choices=PROGRAMS, default=94)
    parser.add_argument("--runs", type=int, default=50, help="of fx in a round")
    parser.add_argument("--reference", type=Path, help="a checkout of cifar10-airbench")
    parser.add_argument("--reference-runs", type=int, help="as many as fx's unless told")
    parser.set_defaults(timeout_s=1000)  # for all runs of a process
    options = parser.parse_args(given)
    options.fx = [str(ROOT / "examples" / "speedrun.py")]
    options.device_kind = report.device_kind(options.device)
    if options.tiny:
        options.runs = options.reference_runs = 2
        options.fx += "--epochs 1 --limit 64 --test-limit 64 --batch-size 32".split()
    options.reference_runs = options.reference_runs or options.runs
    options.reference = options.reference and options.reference.resolve()
    name = f"speedrun-{options.device_kind}-{options.target}.json"
    options.out = options.out or report.RESULTS / name
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    settings = {n: getattr(options, n) for n in ("target", "runs", "reference_runs", "rounds")}
    settings |= {"tiny": options.tiny, "reference": commit(options.reference)}
    found = report.begin("speedrun", given, **settings)
    found["unit"] = "s"
    found["contenders"] = measure(options)
    print("\n" + table(found["contenders"]))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
