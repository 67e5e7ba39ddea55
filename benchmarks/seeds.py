"""Many seeds in one program against as many runs one by one: seconds for an epoch of all.

    python -m benchmarks.seeds --models mlp --seeds 32
    python -m benchmarks.seeds --models convnet --seeds 32 --batch 8 --steps 2 --rounds 3

Both ways train the same seeds on the same data through the same loaders, batches included, as
`fx.train.fit_many` does; the two take turns. The first step of each, with compilation, is apart.
The weights that both come to are compared, and must agree to rounding.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import fx
from benchmarks import machine

if __name__ == "__main__":
    fx.configure()  # before jax is imported

import jax
import jax.numpy as jnp
import numpy as np

from fx import nn
from fx.data import transforms
from fx.train.many.measure import first_batch, needed_bytes
from fx.train.many.stacked import ManyBatches
from fx.train.many.together import Watch, many_steps, stack_states, take_run

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-2  # of the largest weight's change: float32 rounding, passed on by the steps


def mlp(examples: int) -> tuple[Any, fx.data.Dataset, Any]:
    """A small network on vectors of the size of scikit-learn's digits."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(examples, 64)).astype(np.float32)
    labels = rng.integers(0, 10, examples).astype(np.int32)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    return model, fx.data.Dataset(inputs, labels), None


def convnet(examples: int) -> tuple[Any, fx.data.Dataset, Any]:
    """The reference network on 32x32 images."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (examples, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, examples).astype(np.int32)
    return fx.models.ConvNet(), fx.data.Dataset(inputs, labels), transforms.ToTensor()


MODELS = {"mlp": mlp, "convnet": convnet}


class Race:
    """The two ways, with their states and batches."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        model, data, transform = MODELS[name](options.batch * options.steps)
        self.seeds = options.seeds
        optimizer = fx.optim.sgd(0.01, momentum=0.9)
        self.step = fx.train.make_step(
            model, fx.functional.cross_entropy, optimizer, transform=transform
        )
        keys = [jax.random.key(seed) for seed in range(options.seeds)]
        states = [fx.train.create(model, optimizer, key) for key in keys]
        self.loaders = [fx.data.Loader(data, options.batch, seed=s) for s in range(options.seeds)]
        self.watch = Watch(options.seeds, None, None, None)
        self.batches = ManyBatches(self.loaders, options.seeds, self.watch)
        self.many, self.stacked = many_steps(self.step, False, False), stack_states(states, False)
        self.alone, self.start = states, jax.tree.map(jnp.copy, states[0].params)

    def together(self, epoch: int) -> float:
        """Train all seeds for an epoch in one program; returns the seconds."""
        start = time.perf_counter()
        for batch in self.batches.epoch(epoch):
            self.stacked, metrics = self.many(self.stacked, batch)
        jax.block_until_ready((self.stacked, metrics))
        return time.perf_counter() - start

    def one_by_one(self, epoch: int) -> float:
        """Train one seed after the other for an epoch; returns the seconds."""
        start = time.perf_counter()
        for seed, loader in enumerate(self.loaders):
            for batch in loader.epoch(epoch):
                self.alone[seed], metrics = self.step(self.alone[seed], batch)
            jax.block_until_ready((self.alone[seed], metrics))
        return time.perf_counter() - start

    def compile(self) -> dict[str, Any]:
        """Compile both; returns the seconds each took, and the bytes each program needs."""
        batch, single = first_batch(self.batches.epoch(0)), first_batch(self.loaders[0].epoch(0))
        found: dict[str, Any] = {}
        for way, step, ts, given in (
            ("together", self.many, self.stacked, batch),
            ("one_by_one", self.step, self.alone[0], single),
        ):
            start = time.perf_counter()
            program = step.compiled.lower(ts, given).compile()
            found[f"{way}_compile_s"] = time.perf_counter() - start
            found[f"{way}_bytes"] = needed_bytes(program)
        return found

    def difference(self) -> float:
        """The largest difference of a weight between the ways, over the largest change of one."""
        worst = 0.0
        for seed in range(self.seeds):
            both = take_run(self.stacked.runs.params, seed), self.alone[seed].params
            pairs = zip(*map(jax.tree.leaves, both))
            worst = max([worst, *(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)])
        pairs = zip(jax.tree.leaves(self.start), jax.tree.leaves(self.alone[0].params))
        moved = max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)
        return worst / moved


def race(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Runs all rounds of one model; ends the program where the ways do not agree."""
    both = Race(name, options)
    found: dict[str, Any] = {**both.compile(), "together_s": [], "one_by_one_s": []}
    both.together(0)
    both.one_by_one(0)
    found["relative_difference"] = both.difference()
    if not found["relative_difference"] < TOLERANCE:
        sys.exit(f"seeds: the ways came to other weights, {found['relative_difference']:.1e} apart")
    for turn in range(options.rounds):
        order = ["together", "one_by_one"][:: 1 if turn % 2 else -1]
        for way in order:
            found[f"{way}_s"].append(getattr(both, way)(turn + 1))
    return found | summarise(found)


def summarise(found: dict[str, Any]) -> dict[str, float]:
    """Medians, and the median over rounds of the ratio, as these were interleaved."""
    pairs = list(zip(found["one_by_one_s"], found["together_s"], strict=True))
    return {
        "median_together_s": statistics.median(found["together_s"]),
        "median_one_by_one_s": statistics.median(found["one_by_one_s"]),
        "speed_up": statistics.median(loop / one for loop, one in pairs),
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    head = ("", "together s", "one by one s", "speed-up", "compile s", "alone", "MB", "alone")
    rows: list[tuple[str, ...]] = [head]
    for name, entry in found.items():
        cells = [entry["median_together_s"], entry["median_one_by_one_s"], entry["speed_up"]]
        texts = [f"{cells[0]:.3f}", f"{cells[1]:.3f}", f"{cells[2]:.2f}"]
        texts += [f"{entry[f'{way}_compile_s']:.1f}" for way in ("together", "one_by_one")]
        sizes = [
            f"{(entry[f'{way}_bytes'] or 0) / 2**20:.1f}" for way in ("together", "one_by_one")
        ]
        rows.append((name, *texts, *sizes))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))
        )
        for row in rows
    )


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="examples in a batch of one seed")
    parser.add_argument("--steps", type=int, default=20, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way")
    parser.add_argument("--out", type=Path, help="the JSON file")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    here = machine.machine()
    device = jax.devices()[0]
    report: dict[str, Any] = {
        "command": "python -m benchmarks.seeds "
        + " ".join(sys.argv[1:] if given is None else given),
        "versions": machine.versions(),
        "machine": here,
        "device": device.device_kind,
        **{name: getattr(options, name) for name in ("seeds", "batch", "steps", "rounds")},
    }
    if here["load_at_start"] is not None and here["load_at_start"] > here["cores"] / 2:
        print(f"load {here['load_at_start']} on {here['cores']} cores: others use this machine")
    report["models"] = {name: race(name, options) for name in options.models}
    print(f"{here}\n{report['versions']}")
    print(f"{options.seeds} seeds, batch {options.batch}, {options.steps} steps an epoch\n")
    print(table(report["models"]))
    out = options.out or RESULTS / f"seeds-{device.platform}-{'-'.join(options.models)}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{out}")


if __name__ == "__main__":
    main()
