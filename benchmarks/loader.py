"""Batches of CIFAR-10 with random crop and flip: fx against torch's DataLoader, in one run.

    FX_DATA_DIR=... python -m benchmarks.loader --rounds 5

Images are uint8 [32, 32, 3], padded by 4, cropped at random and flipped at random; CIFAR-10 where
FX_DATA_DIR has it, else noise. Each contender has a process of its own; one works at a time, in
rounds that take turns; a round is an epoch, and every batch is waited for. The first epoch, with
the start of workers and compilation, is apart. torch's pipeline is torchvision's per-image one,
written in plain tensors, since torchvision is not among the requirements. The compiled transforms
also turn images into normalised floats, as torch's second line does.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.train_step import Skipped, warn_of_load

TORCH, TORCH_FLOAT = "torch DataLoader, 2 workers", "torch DataLoader, 2 workers, to float"
# Contender: a function of benchmarks.loader_sides, its options, and the peer in torch that
# delivers the same.
CONTENDERS: dict[str, tuple[str, dict[str, Any], str]] = {
    TORCH: ("torch_loader", {"to_float": False}, TORCH),
    "fx host": ("fx_host", {"workers": 1}, TORCH),
    "fx host, 2 workers": ("fx_host", {"workers": 2}, TORCH),
    "grain, by image": ("grain_images", {}, TORCH),
    "grain, by batch, 2 workers": ("grain_batches", {}, TORCH),
    TORCH_FLOAT: ("torch_loader", {"to_float": True}, TORCH_FLOAT),
    "fx compiled, data on the host": ("fx_compiled", {"on_device": False}, TORCH_FLOAT),
    "fx compiled, data on the device": ("fx_compiled", {"on_device": True}, TORCH_FLOAT),
}
RESULTS = Path(__file__).parent / "results"


def serve(name: str, count: int, batch: int, pipe: Connection) -> None:
    """A contender's process: answers the number of an epoch with the seconds that it took."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from benchmarks import loader_sides
    from benchmarks.images import batches

    function, options, _ = CONTENDERS[name]
    try:
        images, labels, data = batches(1, count, seed=0)
        run = getattr(loader_sides, function)(images[0], labels[0], batch, **options)
        pipe.send(data)
        while (epoch := pipe.recv()) is not None:
            start = time.perf_counter()
            shapes = run(epoch)
            seconds = time.perf_counter() - start
            assert sum(shape[0] for shape in shapes) == count, "images are missing"
            pipe.send(seconds)
    except EOFError:  # the parent is gone
        return
    except Exception as error:  # the other contenders go on, and the table says why this did not
        pipe.send(Skipped(f"{type(error).__name__}: {str(error).splitlines()[:1]}"))


class Runner:
    """The parent's end of a contender's process."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._timeout_s = options.timeout_s
        # Not a daemon: torch's loader has children of its own.
        self._process = context.Process(
            target=serve, args=(name, options.images, options.batch, theirs)
        )
        self._process.start()
        theirs.close()
        self.data = self._answer()

    def epoch(self, number: int) -> float:
        """Has the process go through an epoch, and returns the seconds that it took."""
        self._pipe.send(number)
        return self._answer()

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        try:
            self._pipe.send(None)
            self._process.join(10)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            late = Skipped(f"no answer within {self._timeout_s:g} s")
            answer = self._pipe.recv() if self._pipe.poll(self._timeout_s) else late
        except EOFError:
            answer = Skipped("the process died")
        if isinstance(answer, Skipped):
            self.stop()
            raise answer
        return answer


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs all rounds; returns what is known of each contender."""
    found: dict[str, dict[str, Any]] = {}
    runners: dict[str, Runner] = {}
    for name in options.only or CONTENDERS:
        try:
            runners[name] = Runner(name, options)
            first_s = runners[name].epoch(0)
            found[name] = {"data": runners[name].data, "first_epoch_s": first_s, "images_per_s": []}
        except Skipped as reason:
            runners.pop(name, None)
            found[name] = {"skipped": str(reason)}
        print(f"{name}: {found[name].get('skipped') or 'ready'}", flush=True)
    names = list(runners)
    for turn in range(options.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if name not in runners:
                continue
            try:
                seconds = runners[name].epoch(turn + 1)
                found[name]["images_per_s"].append(options.images / seconds)
            except Skipped as reason:
                del runners[name]
                found[name] = {"skipped": str(reason)}
    for runner in runners.values():
        runner.stop()
    return found


def summarise(found: dict[str, dict[str, Any]]) -> None:
    """Adds medians and ratios; a ratio is the median over rounds, as these were interleaved."""
    for name, entry in found.items():
        speeds = entry.get("images_per_s")
        if not speeds:
            continue
        entry["median_images_per_s"] = statistics.median(speeds)
        peer = CONTENDERS[name][2]
        theirs = found.get(peer, {}).get("images_per_s")
        if theirs:
            ratios = [a / b for a, b in zip(speeds, theirs, strict=True)]
            entry["peer"], entry["ratio_to_peer"] = peer, statistics.median(ratios)


def table(found: dict[str, dict[str, Any]]) -> str:
    rows = [("", "images/s", "min", "max", "x torch", "first epoch s")]
    skipped = []
    for name, entry in found.items():
        if "skipped" in entry:
            skipped.append(f"{name}: skipped, {entry['skipped']}")
            continue
        speeds = entry["images_per_s"]
        ratio = entry.get("ratio_to_peer")
        numbers = [entry["median_images_per_s"], min(speeds), max(speeds)]
        cells = [f"{number:,.0f}" for number in numbers]
        cells += ["" if ratio is None else f"{ratio:.1f}", f"{entry['first_epoch_s']:.1f}"]
        rows.append((name, *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    return "\n".join([*lines, *skipped])


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="images in an epoch")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), help="some contenders")
    parser.add_argument("--timeout-s", type=float, default=300, help="for any one answer")
    parser.add_argument("--out", type=Path, default=RESULTS / "loader_cpu.json", help="the JSON")
    return parser.parse_args(given)


def main() -> None:
    options = arguments()
    here = machine.machine()
    warn_of_load(here["load_at_start"], here["cores"])
    found = measure(options)
    summarise(found)
    here["load_at_end"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    report = {
        "command": "python -m benchmarks.loader " + " ".join(sys.argv[1:]),
        "versions": machine.versions() | machine_versions(),
        "machine": here,
        "images": options.images,
        "batch": options.batch,
        "contenders": found,
    }
    print(f"\n{here}\n{report['versions']}\n{options.images} images, batch {options.batch}")
    print("\n" + table(found))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{options.out}")


def machine_versions() -> dict[str, str]:
    """The version of grain, beside those that every benchmark notes."""
    import importlib.metadata

    try:
        return {"grain": importlib.metadata.version("grain")}
    except importlib.metadata.PackageNotFoundError:
        return {"grain": "not installed"}


if __name__ == "__main__":
    main()
