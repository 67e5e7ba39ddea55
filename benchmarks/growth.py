"""How it grows: a training step with its batch, an epoch with its data, seeds with their number.

    python -m benchmarks.growth
    python -m benchmarks.growth --parts seeds --rounds 7

The training step is the ConvNet's in float32, the epoch that of benchmarks.loader, the seeds those
of an MLP as benchmarks.seeds trains them. How compilation grows with depth is in benchmarks.depth.
"""

import argparse
from typing import Any

from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner

TORCH, FX = "PyTorch eager, channels-last", "fx"
DATALOADER, LOADER = "torch DataLoader, 2 workers", "fx host"
TOGETHER, ONE_BY_ONE = "together", "one by one"
SIZES = {
    "cpu": {"batch": [16, 64, 256], "data": [2_500, 10_000, 40_000], "seeds": [1, 8, 32]},
    "gpu": {
        "batch": [64, 256, 1024, 4096],
        "data": [10_000, 50_000, 200_000],
        "seeds": [1, 4, 16, 64, 256],
    },
    "tiny": {"batch": [2, 4], "data": [64, 128], "seeds": [1, 2]},
}
Jobs = dict[tuple[str, int], tuple[Job, tuple[Any, ...]]]


def jobs(part: str, options: argparse.Namespace) -> Jobs:
    """By contender and size: its job, and what `run` is given in a turn."""
    found: Jobs = {}
    for size in options.sizes[part]:
        if part == "batch":
            steps = max(1, options.examples // size)
            given = {"network": "convnet", "batch": size, "precision": options.precision}
            torch = Job(
                "benchmarks.sides.torch_train:Trainer",
                given | {"channels_last": True},
                options.device,
                flags=False,
            )
            fx = Job("benchmarks.sides.jax_train:Trainer", given, options.device)
            found |= {(TORCH, size): (torch, (steps,)), (FX, size): (fx, (steps,))}
        elif part == "data":
            sides = {
                DATALOADER: {"function": "torch_loader", "to_float": False},
                LOADER: {"function": "fx_host", "workers": 1},
            }
            for name, side in sides.items():
                given = {"images": size, "batch": 128, **side}
                job = Job("benchmarks.sides.loaders:Epochs", given, options.device)
                found[name, size] = job, (1,)
        else:
            for way in (TOGETHER, ONE_BY_ONE):
                given = {"model": "mlp", "seeds": size, "way": way}
                found[way, size] = (
                    Job("benchmarks.sides.seeds:Seeds", given, options.device),
                    (1,),
                )
    return found


def measure(part: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By contender: for each size, examples or runs a second."""
    known = jobs(part, options)
    names = {f"{name} at {size}": (name, size) for name, size in known}
    workers = {text: known[place][0] for text, place in names.items()}
    budget_s = options.budget_s and options.budget_s / len(options.parts)
    with Race(workers, options.timeout_s, budget_s) as contest:

        def turn(text: str, runner: Runner) -> dict[str, Any]:
            done, seconds = runner.ask("run", *known[names[text]][1])
            return done | {"seconds": seconds}

        contest.start(lambda text, runner: {"first_s": turn(text, runner)["seconds"]})
        contest.rounds(options.rounds, turn)
        found = contest.finish()
    race.summarise(found, ())
    curves: dict[str, dict[str, Any]] = {}
    for text, (name, size) in names.items():
        kept = ("skipped", "first_s", "values", "median", "low", "high")
        curves.setdefault(name, {})[str(size)] = {
            key: found[text][key] for key in kept if key in found[text]
        }
    return curves


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3)
    parser.add_argument(
        "--parts", nargs="+", choices=list(SIZES["cpu"]), default=list(SIZES["cpu"])
    )
    parser.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    options = report.parse(parser, "growth", given)
    kind = options.device_kind
    options.sizes = SIZES["tiny" if options.tiny else kind]
    options.examples = 4 if options.tiny else 512 if kind == "cpu" else 32_768
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("sizes", "precision", "rounds", "tiny")
    found = report.begin("growth", given, **{name: getattr(options, name) for name in names})
    found["parts"] = {part: measure(part, options) for part in options.parts}
    for part, curves in found["parts"].items():
        rows = [
            (name, size, f"{entry['median']:,.1f}" if "median" in entry else entry["skipped"])
            for name, curve in curves.items()
            for size, entry in curve.items()
        ]
        print("\n" + report.table((part, "size", "a second"), rows))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
