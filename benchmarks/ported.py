"""Hugging Face's models, trained in PyTorch and as `fx.port` writes them, in one run.

    python -m benchmarks.ported
    python -m benchmarks.ported --kind bert --width 256 --depth 4 --batch 8 --length 128

AdamW in float32 on words that are random; dropout is off, and the losses of the first steps are
compared before anything is timed. The port is made on other, shorter inputs than those it trains
on. Rounds take turns, and a ratio is the median over them. transformers comes with `.[test]`.
"""

import argparse
import sys
from typing import Any

from benchmarks.shared import race, report
from benchmarks.shared.race import Job, Race, Runner, Skipped

EAGER, COMPILED, FX = "PyTorch eager", "torch.compile", "fx.port"
PEERS = (EAGER, COMPILED)
TITLES = {"llama": "Llama", "bert": "BERT"}
TOLERANCE = 1e-3  # of a loss, after ten steps


def contenders(options: argparse.Namespace) -> dict[str, Job]:
    sizes = {name: getattr(options, name) for name in ("kind", "width", "depth", "batch", "length")}

    def job(side: str, **more: Any) -> Job:
        return Job(f"benchmarks.sides.ported:{side}", {**sizes, **more}, options.device)

    jobs = {
        EAGER: job("Torch", compiled=False),
        COMPILED: job("Torch", compiled=True),
        FX: job("Fx"),
    }
    return report.chosen(jobs, options.only)


def measure(options: argparse.Namespace) -> race.Found:
    """Rounds of a few steps each."""
    with Race(contenders(options), options.timeout_s, options.budget_s) as contest:
        firsts: dict[str, list[float]] = {}

        def compared(name: str, runner: Runner) -> dict[str, Any]:
            first, seconds = runner.ask("losses", 1)
            losses = first + runner.ask("losses", 9)[0]
            wanted = firsts.setdefault("wanted", losses)
            apart = max(abs(own - other) for own, other in zip(losses, wanted, strict=True))
            if not apart <= TOLERANCE:
                raise Skipped(f"not the same mathematics: a loss is {apart:.0e} apart")
            return {"first_step_s": seconds, "losses": losses}

        contest.start(compared)
        contest.rounds(options.rounds, lambda _, runner: runner.ask("run", options.steps)[0])
        found = contest.finish()
    race.summarise(found, PEERS)
    return found


def table(found: race.Found) -> str:
    rows = [
        (name, f"{1e3 / each['median']:.1f}", f"{each['first_step_s']:.1f}",
         *(f"{each['ratios'][peer]:.2f}" if peer in each["ratios"] else "-"
           for peer in PEERS))
        for name, each in found.items() if "median" in each
    ]  # fmt: skip
    head = ("", "ms a step", "first step, s", f"x {EAGER}", f"x {COMPILED}")
    skipped = [f"{n}: skipped, {e['skipped']}" for n, e in found.items() if "skipped" in e]
    return "\n".join([report.table(head, rows), *skipped])


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    parser.add_argument("--kind", choices=TITLES, default="llama")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3, help="in a turn")
    chosen = parser.parse_args(given)
    options = report.parse(parser, "ported", given)
    options.out = chosen.out or report.RESULTS / f"ported-{options.device_kind}-{options.kind}.json"
    if options.tiny:
        options.width, options.depth, options.batch, options.length = 32, 1, 2, 8
        options.steps = 1
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("kind", "width", "depth", "batch", "length", "steps", "rounds", "tiny")
    found = report.begin("ported", given, **{name: getattr(options, name) for name in names})
    found["contenders"] = measure(options)
    print("\n" + table(found["contenders"]))
    report.write(found, options.out)
    if FX not in found["contenders"] or "skipped" in found["contenders"][FX]:
        sys.exit("fx.port was not measured")


if __name__ == "__main__":
    main()
