"""The command line that claims have in common, and the JSON that each leaves."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from benchmarks.shared import machine
from benchmarks.shared.race import has_gpu

RESULTS = Path(__file__).parent.parent / "results"


def parser(doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with what every claim takes."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--only", nargs="+", help="contenders, by their names in the table")
    parser.add_argument("--timeout-s", type=float, default=300, help="for any one answer")
    parser.add_argument("--budget-s", type=float, help="who is not ready by then is left out")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test; no figure is meant")
    parser.add_argument("--out", type=Path, help="the JSON file")
    return parser


def parse(
    parser: argparse.ArgumentParser, claim: str, given: list[str] | None
) -> argparse.Namespace:
    """Parse; add where it runs, `device_kind`, and where its file goes without `--out`."""
    options = parser.parse_args(given)
    options.device_kind = device_kind(options.device)
    options.out = options.out or RESULTS / f"{claim}-{options.device_kind}.json"
    return options


def device_kind(device: str) -> str:
    """Where the contenders run: "gpu" or "cpu"."""
    return "gpu" if device == "auto" and has_gpu() else "cpu"


def chosen(jobs: dict[str, Any], only: list[str] | None) -> dict[str, Any]:
    """The contenders that `--only` names; all of them without it."""
    unknown = [name for name in only or () if name not in jobs]
    if unknown:
        sys.exit(f"--only: expected some of {list(jobs)}, got {unknown}")
    return {name: job for name, job in jobs.items() if not only or name in only}


def begin(claim: str, given: list[str] | None, **settings: Any) -> dict[str, Any]:
    """What stands in every report: the command, the versions, the class of machine."""
    arguments = sys.argv[1:] if given is None else given
    here = machine.machine()
    load, cores = here["load_at_start"], here["cores"]
    if load is not None and load > cores / 2:
        print(f"load {load} on {cores} cores: these figures will not hold on a quiet machine")
    return {
        "claim": claim,
        "command": command(claim, arguments),
        "versions": machine.versions(),
        "machine": here,
        "settings": settings,
    }


def command(claim: str, arguments: list[str]) -> str:
    """What to type for the same measurement: without where its file went, its limits, and folders.

    Of the reference's checkout only the last part of the path is told.
    """
    kept, skip, before = [], False, ""
    for argument in arguments:
        skip = skip or argument in ("--out", "--budget-s", "--timeout-s")
        if not skip:
            kept.append(Path(argument).name if before == "--reference" else argument)
        elif not argument.startswith("--"):
            skip = False
        before = argument
    return shlex.join(["python", "-m", f"benchmarks.{claim}", *kept])


def write(report: dict[str, Any], out: Path) -> None:
    """Write the report, whole or not at all."""
    if hasattr(os, "getloadavg"):
        report["machine"]["load_at_end"] = round(os.getloadavg()[0], 2)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    part.replace(out)
    print(f"\n{out}")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns for a terminal: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))
        )
        for row in (head, *rows)
    )


def race_table(found: dict[str, dict[str, Any]], unit: str) -> str:
    """The contenders of a race, with their ratios."""
    peers = [p for p in found if any(p in e.get("ratios", ()) for e in found.values())]
    head = ("", "first s", unit, "min", "max", *(f"x {peer}" for peer in peers))
    rows, skipped = [], []
    for name, entry in found.items():
        if "skipped" in entry:
            skipped.append(f"{name}: skipped, {entry['skipped']}")
            continue
        numbers = [f"{entry[key]:,.0f}" for key in ("median", "low", "high")]
        ratios = [
            f"{entry['ratios'][peer]:.2f}" if peer in entry["ratios"] else "" for peer in peers
        ]
        rows.append((name, f"{entry.get('first_s', 0):.2f}", *numbers, *ratios))
    return "\n".join([table(head, rows), *skipped])
