"""The results that there are, and how a figure is written."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.shared import report

Results = dict[str, dict[str, Any]]
Lines = list[str]
DEVICES = {"cpu": "CPU", "gpu": "GPU"}


def load(folder: Path = report.RESULTS) -> Results:
    """The reports of all claims, by the name of their file."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {name: entry for name, entry in found.items() if "claim" in entry}


def of(results: Results, claim: str, kind: str) -> Results:
    """A claim's reports on one kind of device."""
    start = f"{claim}-{kind}"
    return {n: r for n, r in results.items() if n == start or n.startswith(start + "-")}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a table in Markdown, the first column to the left."""
    head = list(head)
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *map(list, rows))]


def number(value: float | None) -> str:
    """Three digits, or thousands with commas."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(entry: dict[str, Any]) -> str:
    """The median, with the least and the most."""
    return f"{number(entry['median'])} ({number(entry['low'])} to {number(entry['high'])})"


def held(entry: dict[str, Any]) -> int | None:
    """The bytes that a contender took."""
    return entry.get("device_peak_bytes") or entry.get("host_growth_bytes")


def megabytes(entry: dict[str, Any]) -> str:
    """The memory that a contender took."""
    size = held(entry)
    return "" if size is None else f"{size / 2**20:,.0f}"


def skipped(contenders: dict[str, Any]) -> list[str]:
    """A line for each contender that did not run."""
    names = [f"{n} ({e['skipped']})" for n, e in contenders.items() if "skipped" in e]
    return [f"Did not run: {'; '.join(names)}.", ""] if names else []


def device(entry: dict[str, Any]) -> str:
    """What it ran on, and how busy that was."""
    here = entry["machine"]
    contenders = entry.get("contenders") or {}
    names = {c.get("device") for c in contenders.values() if c.get("device")} - {"cpu", "host"}
    where = f"{', '.join(sorted(names))}; " if names else ""
    text = f"{where}{here['cpu']}, {here['cores']} cores"
    load, end = here.get("load_at_start"), here.get("load_at_end")
    busy = load is not None and max(load, end or 0) > here["cores"] / 2 and load > 1
    during = f"load {load}" if end is None else f"load {load} to {end}"
    return text + (f"; **the machine was busy** ({during})" if busy else "")


def source(entry: dict[str, Any]) -> list[str]:
    """Where a table is from: the command, the versions, the machine."""
    names = ("jax", "flax", "torch", "onnxruntime")
    known = entry["versions"]
    versions = ", ".join(
        f"{n} {known[n]}" for n in names if known.get(n, "not") != "not installed" and n in known
    )
    tiny = " A tiny run: no figure is meant." if entry["settings"].get("tiny") else ""
    return [f"`{entry['command']}`  ", f"{device(entry)}; {versions}.{tiny}", ""]
