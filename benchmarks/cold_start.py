"""Cold start: from starting a process to its first training step, and to its first prediction.

    python -m benchmarks.cold_start --rounds 3

Each start is a new process that imports what it needs, makes or loads the ConvNet, and runs one
step of `--batch` images or answers for one image. "With a cache" is a second start with the folder
that the first one left: JAX's persistent compilation cache as `fx.configure(cache_dir=...)` sets
it, and Inductor's. Without, the folder is new and empty; the first is kept for the second start.
The contenders take turns.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared import race, report

TRAIN = {
    "PyTorch eager, channels-last": ("torch", False),
    "torch.compile": ("compile", False),
    "torch.compile, with a cache": ("compile", True),
    "fx": ("fx", False),
    "fx, with a cache": ("fx", True),
}
CACHED_COMPILE = "torch.compile, with a cache"
PREDICT = {name: side for name, side in TRAIN.items() if name != CACHED_COMPILE}
PREDICT["onnxruntime"] = ("onnx", False)
WHAT = {"train": TRAIN, "predict": PREDICT}
EAGER = "PyTorch eager, channels-last"


def start(side: str, what: str, cache: Path, files: Path, options: argparse.Namespace) -> float:
    """Seconds from starting the process to the line that says it is ready."""
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    if options.device == "cpu":
        env |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    cache.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.sides.cold", side, what, str(cache), str(files)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(options.batch)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
        text=True,
    )  # fmt: skip
    try:
        text, errors = process.communicate(timeout=options.timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise race.Skipped(f"not ready within {options.timeout_s:g} s") from None
    if process.returncode != 0:
        raise race.Skipped((errors.strip().splitlines() or ["the process died"])[-1][:200])
    # The process says by its own clock how long it went on after it was ready: not part of it.
    after_s = float(text.split("ready ")[1])
    return time.perf_counter() - begun - (time.time() - after_s)


def measure(what: str, files: Path, options: argparse.Namespace) -> race.Found:
    found: race.Found = {name: {"rounds": []} for name in report.chosen(WHAT[what], options.only)}
    for number in range(options.rounds):
        names = list(found)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            if "rounds" not in found[name]:
                continue
            side, cached = WHAT[what][name]
            kept = files / f"cache-{what}-{side}"
            try:
                if cached and not kept.exists():  # its first start was not asked for
                    start(side, what, kept, files, options)
                with tempfile.TemporaryDirectory() as empty:
                    cache = kept if cached or not kept.exists() else Path(empty)
                    seconds = start(side, what, cache, files, options)
            except race.Skipped as reason:
                found[name] = {"skipped": str(reason)}
                shutil.rmtree(kept, ignore_errors=True)  # a part of a cache would be none
                continue
            found[name]["rounds"].append({"seconds": seconds})
    race.summarise(found, (EAGER,), lambda row: row["seconds"])
    return found


def table(found: race.Found) -> str:
    rows = [
        (name, *(f"{entry[k]:.2f}" for k in ("median", "low", "high")))
        for name, entry in found.items()
        if "rounds" in entry
    ]
    return report.table(("", "seconds", "min", "max"), rows)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    options = report.parse(parser, "cold_start", given)
    if options.tiny:
        options.batch = 4
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("batch", "rounds", "tiny")
    found = report.begin("cold_start", given, **{name: getattr(options, name) for name in names})
    found["unit"], found["starts"] = "s", {}
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        prepare = [
            sys.executable,
            "-m",
            "benchmarks.sides.cold",
            "prepare",
            "all",
            "-",
            folder,
            "1",
        ]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL, env=quiet)
        for what in options.what:
            found["starts"][what] = measure(what, Path(folder), options)
            print(f"\nto the first {what}\n{table(found['starts'][what])}")
    report.write(found, options.out)


if __name__ == "__main__":
    main()
