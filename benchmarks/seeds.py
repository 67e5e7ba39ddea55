"""Many seeds in one program against as many runs one by one: seconds for an epoch of all.

    python -m benchmarks.seeds --models mlp --seeds 32
    python -m benchmarks.seeds --models convnet --seeds 32 --batch 8 --steps 2 --rounds 3

Both ways train the same seeds on the same data through the same loaders, batches included, as
`fx.train.fit_many` does; the two take turns. The first step of each, with compilation, is apart.
The weights that both come to are compared, and must agree to rounding.
"""

import argparse
import statistics
import sys
import time
from typing import Any

import fx
from benchmarks.shared import report

if __name__ == "__main__":
    fx.configure()  # before jax is imported

import jax
import jax.numpy as jnp
import numpy as np

from fx import nn
from fx.data import transforms
from fx.data.batch import first_batch
from fx.train.many.measure import needed_bytes
from fx.train.many.stacked import ManyBatches
from fx.train.many.together import Watch, many_steps, stack_states, take_run

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
        self.many, self.stacked = (
            many_steps(self.step, options.seeds == 1, False),
            stack_states(states, False),
        )
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
    rows: list[tuple[str, ...]] = []
    for name, entry in found.items():
        cells = [entry["median_together_s"], entry["median_one_by_one_s"], entry["speed_up"]]
        texts = [f"{cells[0]:.3f}", f"{cells[1]:.3f}", f"{cells[2]:.2f}"]
        texts += [f"{entry[f'{way}_compile_s']:.1f}" for way in ("together", "one_by_one")]
        sizes = [
            f"{(entry[f'{way}_bytes'] or 0) / 2**20:.1f}" for way in ("together", "one_by_one")
        ]
        rows.append((name, *texts, *sizes))
    return report.table(head, rows)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="examples in a batch of one seed")
    parser.add_argument("--steps", type=int, default=20, help="in an epoch")
    options = parser.parse_args(given)
    if options.tiny:
        options.models, options.seeds, options.batch, options.steps = ["mlp"], 2, 4, 2
    name = f"seeds-{report.device_kind(options.device)}-{'-'.join(options.models)}.json"
    options.out = options.out or report.RESULTS / name
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("seeds", "batch", "steps", "rounds", "tiny")
    found = report.begin("seeds", given, **{name: getattr(options, name) for name in names})
    found["device"] = jax.devices()[0].device_kind
    found["models"] = {name: race(name, options) for name in options.models}
    print(f"{options.seeds} seeds, batch {options.batch}, {options.steps} steps an epoch\n")
    print(table(found["models"]))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
