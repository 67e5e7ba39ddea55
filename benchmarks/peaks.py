"""What the machine can do: its fastest matrix product and copy, as any framework gets them.

    python -m benchmarks.peaks

Shares in other tables are of these figures. Both frameworks try, in turns; the most counts.
"""

import argparse
from typing import Any

from benchmarks.shared import report
from benchmarks.shared.race import Job, Race, Runner

PRECISIONS = ("float32", "tf32", "bf16")


def contenders(options: argparse.Namespace) -> dict[str, Job]:
    given = {"side": options.side, "copied": options.copied}
    return {
        "PyTorch": Job("benchmarks.sides.peaks:Torch", given, options.device, flags=False),
        "JAX": Job("benchmarks.sides.peaks:Jax", given, options.device),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The most that either reached, by what was done."""
    with Race(contenders(options), options.timeout_s, options.budget_s) as contest:

        def turn(name: str, runner: Runner) -> dict[str, Any]:
            row = {}
            for precision in options.precisions:
                flops, seconds = runner.ask("product", precision, options.repeats)
                row[f"{precision} flops/s"] = flops / seconds
            copied, seconds = runner.ask("copy", options.repeats)
            row["copy bytes/s"] = copied / seconds
            return row

        def first(name: str, runner: Runner) -> dict[str, Any]:
            turn(name, runner)  # compiles
            return {}

        contest.start(first)
        contest.rounds(options.rounds, turn)
        found = contest.finish()
    rows = [row for entry in found.values() for row in entry.get("rounds", ())]
    most = {name: max(row[name] for row in rows) for name in (rows[0] if rows else ())}
    return {"peaks": most, "contenders": found}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = report.parser(__doc__, rounds=5)
    options = report.parse(parser, "peaks", given)
    gpu = options.device_kind == "gpu"
    options.side, options.copied, options.repeats = (8192, 2**32, 20) if gpu else (2048, 2**28, 3)
    if options.tiny:
        options.side, options.copied, options.repeats = 64, 2**16, 1
    options.precisions = PRECISIONS if gpu else ("float32", "bf16")
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    names = ("side", "copied", "rounds", "repeats", "tiny")
    found = report.begin("peaks", given, **{name: getattr(options, name) for name in names})
    found |= measure(options)
    for name, value in found["peaks"].items():
        print(f"{name}: {value:.3g}")
    report.write(found, options.out)


if __name__ == "__main__":
    main()
