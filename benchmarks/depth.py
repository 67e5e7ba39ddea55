"""Time to compile a training step against depth: `nn.Stack`, and the same layers one by one.

    python -m benchmarks.depth
    python -m benchmarks.depth --depths 4 48 --single 48 --rounds 5 --out report.json

The layers are those of a transformer: attention and feed-forward part with LayerNorm and dropout.
A step is forward, gradient and SGD, traced and compiled without running; "equations" is the size
of the traced program. Rounds take turns over the depths, and medians are reported. One by one,
48 layers take minutes, so that `--single` says how many are tried.
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

from fx import nn

LIMIT = 1.5  # of the shallowest one's time


def layer(dim: int) -> nn.Module:
    return nn.TransformerEncoderLayer(dim, 4, 4 * dim, 0.1, batch_first=True, norm_first=True)


def stacked(dim: int, depth: int) -> nn.Module:
    return nn.Stack(layer(dim), depth)


def single(dim: int, depth: int) -> nn.Module:
    return nn.Sequential(*[layer(dim) for _ in range(depth)])


WAYS = {"Stack": stacked, "Sequential": single}


def size(jaxpr: Any) -> int:
    """The equations of a traced program and of the programs in it."""
    inner = [v for e in jaxpr.eqns for v in jax.tree.leaves(tuple(e.params.values()))]
    found = [getattr(v, "jaxpr", v) for v in inner if hasattr(v, "eqns") or hasattr(v, "jaxpr")]
    return len(jaxpr.eqns) + sum(map(size, found))


def measure(model: nn.Module, dim: int) -> dict[str, float]:
    """Seconds to trace and to compile a training step, and the size of its program."""
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((2, 16, dim), jnp.float32)

    def step(params: Any, x: Any, key: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            return jnp.mean(model.apply(params, state, x, train=True, key=key)[0] ** 2)

        return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params))

    start = time.perf_counter()
    traced = jax.jit(step).trace(params, x, jax.random.key(0))
    middle = time.perf_counter()
    traced.lower().compile()
    end = time.perf_counter()
    return {
        "trace_s": middle - start, "compile_s": end - middle, "total_s": end - start,
        "equations": size(traced.jaxpr.jaxpr),
    }  # fmt: skip


def race(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over the rounds by way and depth."""
    places = [
        (way, depth)
        for depth in options.depths
        for way in options.ways
        if way == "Stack" or depth <= options.single
    ]
    rows: dict[tuple[str, int], list[dict[str, float]]] = {place: [] for place in places}
    measure(stacked(options.dim, 2), options.dim)  # jax's own start
    for _ in range(options.rounds):
        for way, depth in places:
            jax.clear_caches()
            rows[way, depth].append(measure(WAYS[way](options.dim, depth), options.dim))
    found: dict[str, dict[str, dict[str, float]]] = {way: {} for way in options.ways}
    for (way, depth), several in rows.items():
        medians = {name: statistics.median(row[name] for row in several) for name in several[0]}
        found[way][str(depth)] = {name: round(value, 4) for name, value in medians.items()}
    return found


def ratios(found: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    """The deepest one's time over the shallowest one's, by way."""
    ends = {way: (min(rows, key=int), max(rows, key=int)) for way, rows in found.items()}
    return {
        way: round(found[way][deep]["total_s"] / found[way][shallow]["total_s"], 2)
        for way, (shallow, deep) in ends.items()
    }


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [f"{'':12}{'layers':>8}{'trace s':>10}{'compile s':>11}{'equations':>11}"]
    for way, rows in found.items():
        for depth, row in rows.items():
            lines.append(
                f"{way:12}{depth:>8}{row['trace_s']:>10.2f}{row['compile_s']:>11.2f}"
                f"{row['equations']:>11,.0f}"
            )
    return "\n".join(lines)


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 12, 48])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--single", type=int, default=12, help="most layers compiled one by one")
    parser.add_argument("--dim", type=int, default=64)
    options = report.parse(parser, "depth", given)
    if options.tiny:
        options.depths, options.dim, options.rounds = [1, 3], 8, 1
    return options


def main(given: list[str] | None = None) -> dict[str, float]:
    options = arguments(given)
    names = ("depths", "single", "dim", "rounds", "tiny")
    found = report.begin("depth", given, **{name: getattr(options, name) for name in names})
    ways = race(options)
    found |= {"ways": ways, "ratios": ratios(ways)}
    print(table(ways))
    for way, ratio in found["ratios"].items():
        print(f"{way}: the deepest takes {ratio} times the shallowest's time")
    report.write(found, options.out)
    return found["ratios"]


if __name__ == "__main__":
    measured = main()
    if measured.get("Stack", 0) > LIMIT:
        sys.exit(f"Stack: expected at most {LIMIT}")
