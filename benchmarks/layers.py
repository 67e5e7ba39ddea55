"""Layers one by one, forward and with the gradient: fx beside PyTorch eager, in one run.

    python -m benchmarks.layers --rounds 5

Float32; a gradient is to the parameters and to the input. Spatial layers have their activations
channels-last, as they lie inside of fx's networks; PyTorch is measured in both of its orders, and
what counts is the faster. All answers and gradients are compared first. Each contender has a
process of its own; a turn is a layer's calls for a moment, and a figure the median over the rounds.
"""

import argparse
import statistics
from typing import Any

import numpy as np

from benchmarks.networks.layers import LAYERS
from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner, Skipped

EAGER, CHANNELS_LAST, FX = "PyTorch eager", "PyTorch eager, channels-last", "fx"
WAYS = {"forward": "forward", "gradient": "forward and gradient"}
TOLERANCE = 1e-3  # of an answer's or a gradient's largest value


def contenders(options: argparse.Namespace) -> dict[str, Job]:
    def job(side: str, **more: Any) -> Job:
        maker = f"benchmarks.sides.layers:{side}"
        return Job(maker, {"tiny": options.tiny, **more}, options.device, flags=side == "Fx")

    jobs = {
        EAGER: job("Torch", channels_last=False),
        CHANNELS_LAST: job("Torch", channels_last=True),
        FX: job("Fx"),
    }
    return report.chosen(jobs, options.only)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Rounds in which each contender runs each layer for a moment, both ways."""
    with Race(contenders(options), options.timeout_s, options.budget_s) as contest:
        firsts: dict[str, Any] = {}

        def compared(name: str, runner: Runner) -> dict[str, Any]:
            answers, _ = runner.ask("answers")
            firsts.setdefault("wanted", answers)
            check(answers, firsts["wanted"])
            return {}

        def turn(_: str, runner: Runner) -> dict[str, Any]:
            return runner.ask("run", options.seconds)[0]

        contest.start(compared)
        contest.rounds(options.rounds, turn)
        found = contest.finish()
    summarise(found)
    return found


def check(answers: dict[str, list[np.ndarray]], wanted: dict[str, list[np.ndarray]]) -> None:
    """Raise where a contender computes something else than the first."""
    for layer, arrays in answers.items():
        for own, other in zip(arrays, wanted[layer], strict=True):
            apart = float(np.max(np.abs(own - other)) / max(1e-30, np.max(np.abs(other))))
            if not apart <= TOLERANCE:
                raise Skipped(f"not the same mathematics: {layer} is {apart:.0e} apart")


def summarise(found: race.Found) -> None:
    """Replace the rounds by medians of milliseconds, by layer and way."""
    for entry in found.values():
        rows = entry.pop("rounds", [])
        if rows:
            entry["layers"] = {
                layer: {
                    way: 1e3 * statistics.median(row[layer][way] for row in rows) for way in WAYS
                }
                for layer in rows[0]
            }


def ratios(found: race.Found) -> dict[str, dict[str, float]]:
    """By layer and way: fx's time beside that of PyTorch's faster order."""
    own = found.get(FX, {}).get("layers", {})
    peers = [each["layers"] for n, each in found.items() if n != FX and "layers" in each]
    return {
        layer: {way: times[way] / min(peer[layer][way] for peer in peers) for way in WAYS}
        for layer, times in (own if peers else {}).items()
    }


def table(found: race.Found) -> str:
    beside = ratios(found)
    head = ("", *(f"{word}: {part}" for word in WAYS.values() for part in ("ms", "x PyTorch")))
    rows = [
        (layer, *(text for way in WAYS for text in (f"{times[way]:.2f}", f"{each[way]:.2f}")))
        for layer, each in beside.items()
        for times in [found[FX]["layers"][layer]]
    ]
    skipped = [f"{n}: skipped, {e['skipped']}" for n, e in found.items() if "skipped" in e]
    return "\n".join([report.table(head, rows), *skipped])


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="a layer's turn, each way")
    options = report.parse(parser, "layers", given)
    if options.tiny:
        options.seconds = 0.001
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("seconds", "rounds", "tiny")
    found = report.begin("layers", given, **{name: getattr(options, name) for name in names})
    found["sizes"] = {name: layer.size for name, layer in LAYERS.items()}
    found["contenders"] = measure(options)
    print("\n" + table(found["contenders"]))
    report.write(found, options.out)


if __name__ == "__main__":
    main()
