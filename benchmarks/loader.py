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
import statistics
from typing import Any

from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner

TORCH, TORCH_FLOAT = "torch DataLoader, 2 workers", "torch DataLoader, 2 workers, to float"
HOST_TWO, COMPILED = "fx host, 2 workers", "fx compiled, data on the host"
# Contender: a function of benchmarks.sides.loaders, its options, and the peer in torch that
# delivers the same.
CONTENDERS: dict[str, tuple[str, dict[str, Any], str]] = {
    TORCH: ("torch_loader", {"to_float": False}, TORCH),
    "fx host": ("fx_host", {"workers": 1}, TORCH),
    HOST_TWO: ("fx_host", {"workers": 2}, TORCH),
    "grain, by image": ("grain_images", {}, TORCH),
    "grain, by batch, 2 workers": ("grain_batches", {}, TORCH),
    TORCH_FLOAT: ("torch_loader", {"to_float": True}, TORCH_FLOAT),
    COMPILED: ("fx_compiled", {"on_device": False}, TORCH_FLOAT),
    "fx compiled, data on the device": ("fx_compiled", {"on_device": True}, TORCH_FLOAT),
}

# Ours that the page holds to the others that deliver the same.
FX = {HOST_TWO: TORCH, COMPILED: TORCH_FLOAT}


def contenders(options: argparse.Namespace) -> dict[str, Job]:
    jobs = {}
    for name, (function, more, _) in CONTENDERS.items():
        given = {"function": function, "images": options.images, "batch": options.batch, **more}
        jobs[name] = Job("benchmarks.sides.loaders:Epochs", given, options.device)
    return report.chosen(jobs, options.only)


def measure(options: argparse.Namespace) -> race.Found:
    """Run all rounds; an epoch is a turn."""
    with Race(contenders(options), options.timeout_s, options.budget_s) as contest:

        def epoch(name: str, runner: Runner) -> dict[str, Any]:
            number = len(contest.found[name]["rounds"]) + 1
            done, seconds = runner.ask("run", number)
            return done | {"seconds": seconds}

        contest.start(lambda _, runner: {"first_s": runner.ask("run", 0)[1]})
        contest.rounds(options.rounds, epoch)
        found = contest.finish()
    summarise(found)
    return found


def summarise(found: race.Found) -> None:
    """Add medians, and the ratio to the peer that does the same."""
    race.summarise(found, ())
    for name, entry in found.items():
        peer = CONTENDERS[name][2]
        theirs = found.get(peer, {}).get("values")
        if theirs and "values" in entry:
            ratios = [a / b for a, b in zip(entry["values"], theirs, strict=True)]
            entry["peer"], entry["ratio_to_peer"] = peer, statistics.median(ratios)


def table(found: race.Found) -> str:
    rows, skipped = [], []
    for name, entry in found.items():
        if "skipped" in entry:
            skipped.append(f"{name}: skipped, {entry['skipped']}")
            continue
        cells = [f"{entry[key]:,.0f}" for key in ("median", "low", "high")]
        ratio = entry.get("ratio_to_peer")
        cells += ["" if ratio is None else f"{ratio:.1f}", f"{entry['first_s']:.1f}"]
        rows.append((name, *cells))
    head = ("", "images/s", "min", "max", "x torch", "first epoch s")
    return "\n".join([report.table(head, rows), *skipped])


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=10_000, help="images in an epoch")
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    options = report.parse(parser, "loader", given)
    if options.tiny:
        options.images = 300
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("images", "batch", "rounds", "tiny")
    found = report.begin("loader", given, **{name: getattr(options, name) for name in names})
    found["unit"] = "images/s"
    found["contenders"] = measure(options)
    print("\n" + table(found["contenders"]))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
