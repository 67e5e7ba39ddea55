"""What the options of a training step cost, on the reference network: a step with each, in turns.

    python -m benchmarks.step_options --rounds 7

All steps are fx's, in one process, from the same weights on the same batch; a turn is some steps,
and a round gives each option a turn. A cost is the median over rounds of an option's time beside
that of the step without options in the same round, less 1.
"""

import argparse
import statistics
import time
from typing import Any

import fx
from benchmarks.shared import report
from benchmarks.shared.race import spread

if __name__ == "__main__":
    fx.configure()  # before jax is imported

import jax

from benchmarks.shared.images import batches
from benchmarks.sides.fx_step import augmentation
from fx import functional as F
from fx import optim

PLAIN = "no option"
OPTIONS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "check_finite=True": {"check_finite": True},
    'check_finite="layers"': {"check_finite": "layers"},
    "diagnostics=True": {"diagnostics": True},
    "clip_norm=1.0": {"clip_norm": 1.0},
    "ema=0.999": {"ema": 0.999},
    "remat=True": {"remat": True},
    "accumulate=2": {"accumulate": 2},
}


class Runner:
    """A step with an option, and the state that it has come to."""

    def __init__(self, given: dict[str, Any], batch: Any) -> None:
        model, optimizer = fx.models.ConvNet(), optim.adam(1e-3, weight_decay=1e-4)
        self.step = fx.train.make_step(
            model, F.cross_entropy, optimizer, transform=augmentation(), **given
        )
        self.ts = fx.train.create(model, self.step.optimizer, jax.random.key(0))
        self.batch = batch

    def run(self, steps: int) -> float:
        """Run steps; returns the seconds of one."""
        start = time.perf_counter()
        for _ in range(steps):
            self.ts, metrics = self.step(self.ts, self.batch)
        jax.block_until_ready((self.ts, metrics))
        return (time.perf_counter() - start) / steps


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    images, labels, _ = batches(1, options.batch, seed=0)
    batch = jax.device_put((images[0], labels[0]))
    chosen = report.chosen(OPTIONS, [PLAIN, *options.only] if options.only else None)
    runners = {name: Runner(given, batch) for name, given in chosen.items()}
    found = {name: {"first_s": each.run(1), "values": []} for name, each in runners.items()}
    names = list(runners)
    for turn in range(options.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            found[name]["values"].append(1e3 * runners[name].run(options.steps))
    return summarise(found)


def summarise(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add medians of milliseconds, their spread, and what is more than without an option."""
    plain = found[PLAIN]["values"]
    for entry in found.values():
        more = [own / least - 1 for own, least in zip(entry["values"], plain, strict=True)]
        entry |= spread(entry["values"])
        entry |= {"cost": statistics.median(more), "cost_low": min(more), "cost_high": max(more)}
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    head = ("", "ms a step", "cost", "least", "most")
    rows = []
    for name, entry in found.items():
        costs = (f"{entry[key]:+.1%}" for key in ("cost", "cost_low", "cost_high"))
        rows.append((name, f"{entry['median']:.2f}", *costs))
    return report.table(head, rows)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=7)
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument("--steps", type=int, default=2, help="steps in a turn")
    options = report.parse(parser, "step_options", given)
    if options.tiny:
        options.batch, options.steps = 8, 1
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("batch", "steps", "rounds", "tiny")
    found = report.begin("step_options", given, **{name: getattr(options, name) for name in names})
    found["device"] = jax.devices()[0].device_kind
    found["options"] = measure(options)
    print("\n" + table(found["options"]))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
