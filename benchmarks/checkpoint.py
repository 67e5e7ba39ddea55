"""How long a checkpoint keeps the training loop waiting: written at once, and on a thread.

    python -m benchmarks.checkpoint --rounds 5

Each round runs the same steps three times, in turns: without a checkpoint, with one that
`fx.checkpoint.save` writes, and with one that `fx.checkpoint.Writer` writes while the steps go on.
"held" is how long the call took, which is how long no step was given to the device; "cost" is what
the steps took longer in all, so it has the processor time that the thread took from them, which on
a CPU is the same cores. "share" is the cost beside an epoch of 50,000 examples.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import fx
from benchmarks.shared import report
from benchmarks.shared.images import batches
from benchmarks.sides.fx_step import augmentation
from fx import functional as F
from fx import nn, optim

EPOCH = 50_000
NONE, SYNC, ASYNC = "no checkpoint", "save", "Writer"
Work = tuple[Callable, Any, Any]


def adam() -> Any:
    return optim.adam(1e-3, weight_decay=1e-4)


def convnet(batch: int) -> Work:
    """The reference network on CIFAR-10: a step, its state, a batch."""
    images, labels, _ = batches(1, batch, seed=0)
    model, optimizer = fx.models.ConvNet(), adam()
    step = fx.train.make_step(model, F.cross_entropy, optimizer, transform=augmentation())
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    return step, ts, jax.device_put((images[0], labels[0]))


def large(batch: int, width: int = 2048) -> Work:
    """A state of 200 MB: four layers of 2048 by 2048, and Adam's two moments of each."""
    layers = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.ReLU())]
    model, optimizer = nn.Sequential(*layers), adam()
    step = fx.train.make_step(model, F.mse_loss, optimizer)
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (batch, width))
    return step, ts, (x, x)


def size_bytes(ts: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(ts) if hasattr(leaf, "nbytes"))


def run(work: Work, steps: int, save: Callable | None) -> tuple[Work, float, float]:
    """Run steps, with a checkpoint after the first; return their seconds and those of the call."""
    step, ts, batch = work
    held = 0.0
    start = time.perf_counter()
    for number in range(steps):
        ts, metrics = step(ts, batch)
        if number == 0 and save is not None:
            jax.device_get(metrics)  # as the loop does: its totals go into the checkpoint
            begun = time.perf_counter()
            save(ts)
            held = time.perf_counter() - begun
    jax.block_until_ready((ts, metrics))
    return (step, ts, batch), time.perf_counter() - start, held


def measure(make: Callable[[int], Work], options: argparse.Namespace) -> dict[str, Any]:
    work = make(options.batch)
    found: dict[str, Any] = {
        "state_bytes": size_bytes(work[1]),
        "rounds": {NONE: [], SYNC: [], ASYNC: []},
    }
    names = list(found["rounds"])
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        sync, writer = Path(folder) / "sync", fx.checkpoint.Writer(Path(folder) / "async")
        with writer:
            saves = {
                NONE: None,
                SYNC: lambda ts: fx.checkpoint.save(sync, ts, {}),
                ASYNC: lambda ts: writer.save(ts, {}),
            }
            for turn in range(-1, options.rounds):
                for name in names[turn % 3 :] + names[: turn % 3]:
                    work, seconds, held = run(work, options.steps, saves[name])
                    begun = time.perf_counter()
                    writer.wait()
                    left = time.perf_counter() - begun
                    if turn >= 0:  # the first turn compiles
                        row = {"seconds": seconds, "held_s": held, "left_s": left}
                        found["rounds"][name].append(row)
    return summarise(found, options)


def summarise(found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Add medians; a cost is the median over rounds of the difference within a round."""
    rounds = found["rounds"]
    plain = [row["seconds"] for row in rounds[NONE]]
    step_s = statistics.median(plain) / options.steps
    found["step_s"], found["epoch_s"] = step_s, step_s * EPOCH / options.batch
    for name in (SYNC, ASYNC):
        costs = [row["seconds"] - base for row, base in zip(rounds[name], plain, strict=True)]
        found[name] = {
            "held_s": statistics.median(row["held_s"] for row in rounds[name]),
            "cost_s": statistics.median(costs),
            "left_s": statistics.median(row["left_s"] for row in rounds[name]),
        }
        found[name]["share_of_epoch"] = found[name]["cost_s"] / found["epoch_s"]
    return found


def table(states: dict[str, Any]) -> str:
    lines = [
        f"{'state':<10}{'MB':>6}{'step ms':>9}  {'':<8}{'held ms':>9}{'cost ms':>9}"
        f"{'share':>9}{'after ms':>10}"
    ]
    for title, found in states.items():
        for name in (SYNC, ASYNC):
            entry = found[name]
            lines.append(
                f"{title:<10}{found['state_bytes'] / 1e6:>6.0f}{found['step_s'] * 1e3:>9.1f}  "
                f"{name:<8}{entry['held_s'] * 1e3:>9.1f}{entry['cost_s'] * 1e3:>9.1f}"
                f"{entry['share_of_epoch']:>9.2%}{entry['left_s'] * 1e3:>10.1f}"
            )
    return "\n".join(lines)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=128, help="examples in a batch")
    parser.add_argument("--steps", type=int, default=8, help="steps in a turn")
    parser.add_argument("--dir", type=Path, help="where to write; a temporary folder's place")
    options = report.parse(parser, "checkpoint", given)
    if options.tiny:
        options.batch, options.steps = 8, 2
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("batch", "steps", "rounds", "tiny")
    found = report.begin("checkpoint", given, **{name: getattr(options, name) for name in names})
    found["device"] = jax.devices()[0].device_kind
    works: dict[str, Callable[[int], Work]] = {"ConvNet": convnet, "200 MB": large}
    if options.tiny:
        works = {"tiny": lambda batch: large(batch, 16)}
    found["states"] = {title: measure(make, options) for title, make in works.items()}
    print(f"{found['machine']}\n{found['versions']}\n\n{table(found['states'])}")
    report.write(found, options.out)


if __name__ == "__main__":
    fx.configure()
    main()
