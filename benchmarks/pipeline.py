"""The whole reference pipeline, data and augmentation included: images/s and minutes.

    FX_DATA_DIR=... python -m benchmarks.pipeline --precision bf16        # on a GPU
    python -m benchmarks.pipeline --images 512 --rounds 3

An epoch reads all images in a new order, flips, turns (10 degrees) and jitters the colours of each,
normalises, trains the ConvNet with Adam and a cosine schedule in batches of 128, and validates on a
quarter as many. Three programs take turns: fx as examples/cifar10.py is written; PyTorch as most
write it (per-image transforms of PIL images in a DataLoader with two workers and pin_memory, eager,
the loss read at each step); PyTorch at its strongest (data set on the device as uint8, augmentation
in batches there, channels-last, torch.compile). torchvision is not among the requirements: its
transforms are written out in PIL and in torch.
"""

import argparse
from typing import Any

from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner

USUAL, STRONGEST, FX = "PyTorch, the usual program", "PyTorch, the strongest program", "fx"
EPOCHS, CIFAR = 100, 50_000  # 40,000 to train on and 10,000 to validate
APART = 0.05  # of the mean loss of an epoch: weights and augmentation are each program's own


def contenders(options: argparse.Namespace) -> dict[str, Job]:
    given = {k: getattr(options, k) for k in ("images", "batch", "precision")}
    mode = "max-autotune" if options.device_kind == "gpu" else "default"
    torch = "benchmarks.sides.torch_pipeline:"
    jobs = {
        USUAL: Job(torch + "Usual", given, options.device, flags=False),
        STRONGEST: Job(torch + "Strongest", given | {"mode": mode}, options.device, flags=False),
        FX: Job("benchmarks.sides.fx_pipeline:Pipeline", given, options.device),
    }
    return report.chosen(jobs, options.only)


def measure(options: argparse.Namespace) -> race.Found:
    with Race(contenders(options), options.timeout_s, options.budget_s) as contest:

        def turn(name: str, runner: Runner) -> dict[str, Any]:
            done, seconds = runner.ask("run", options.epochs)
            return done | {"seconds": seconds}

        contest.start(lambda _, runner: {"first_s": runner.ask("run", 1)[1]})
        contest.rounds(options.rounds, turn)
        found = contest.finish()
    if not options.tiny:
        check_losses(found)
    race.summarise(found, (USUAL, STRONGEST))
    for entry in found.values():
        if "median" in entry:
            entry["minutes_for_100_epochs"] = EPOCHS * CIFAR / entry["median"] / 60
        joules = [
            row["joules"] / row["count"] for row in entry.get("rounds", ()) if "joules" in row
        ]
        if joules:
            entry["joules_per_epoch"] = CIFAR * race.spread(joules)["median"]
    return found


def check_losses(found: race.Found) -> None:
    """Leave out who does not learn as the first of the programs does.

    That the steps are the same to rounding is what benchmarks.train_step checks.
    """
    ran = {name: entry for name, entry in found.items() if entry.get("rounds")}
    first = next(iter(ran.values()), {"rounds": []})["rounds"]
    for name, entry in ran.items():
        apart = [
            abs(row["loss"] - known["loss"]) / known["loss"]
            for row, known in zip(entry["rounds"], first, strict=True)
        ]
        entry["losses_apart"] = max(apart)
        if not max(apart) < APART:
            found[name] = {"skipped": f"not the same mathematics: losses {max(apart):.0%} apart"}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--images", type=int, help="to train on (CPU: 1024, GPU: 40000)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=1, help="in a turn")
    parser.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    options = parser.parse_args(given)
    options.device_kind = report.device_kind(options.device)
    options.images = options.images or (40_000 if options.device_kind == "gpu" else 1024)
    if options.tiny:
        options.images, options.batch = 32, 16
    name = f"pipeline-{options.device_kind}-{options.precision}.json"
    options.out = options.out or report.RESULTS / name
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("images", "batch", "epochs", "precision", "rounds", "tiny")
    found = report.begin("pipeline", given, **{name: getattr(options, name) for name in names})
    found["unit"] = "images/s"
    found["contenders"] = measure(options)
    print("\n" + report.race_table(found["contenders"], "images/s"))
    for name, entry in found["contenders"].items():
        if "minutes_for_100_epochs" in entry:
            print(f"{name}: {entry['minutes_for_100_epochs']:.1f} minutes for {EPOCHS} epochs")
    report.write(found, options.out)


if __name__ == "__main__":
    main()
