"""The page's pictures; each carries a hash of the results it was drawn from."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import growth
from benchmarks.page.results import Results, of
from benchmarks.page.verdict import title

OURS, THEIRS, FLOOR = "#0072B2", "#D55E00", "#7F7F7F"
Draw = Callable[[Results], Figure]


def digest(results: Results) -> str:
    """What a picture was drawn from."""
    return hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()


def colour(name: str) -> str:
    """Ours, PyTorch's and its friends', or other programs in JAX."""
    if name.startswith("fx"):
        return OURS
    return FLOOR if name.startswith(("plain JAX", "Flax")) else THEIRS


def bars(axis: Axes, entries: dict[str, Any], heading: str, unit: str) -> None:
    """A bar for each contender, with the least and the most."""
    shown = {name: e for name, e in entries.items() if "median" in e}
    names = list(shown)[::-1]
    middles = [shown[name]["median"] for name in names]
    lows = [shown[name]["median"] - shown[name]["low"] for name in names]
    highs = [shown[name]["high"] - shown[name]["median"] for name in names]
    axis.barh(names, middles, color=[colour(n) for n in names], height=0.7, alpha=0.9)
    axis.errorbar(middles, names, xerr=[lows, highs], fmt="none", ecolor="#333333", elinewidth=1)
    axis.set_title(heading, loc="left", size=9)
    axis.set_xlabel(unit, size=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)


def curves(axis: Axes, found: dict[str, dict[str, Any]], heading: str, label: str) -> None:
    """A line for each contender over sizes."""
    styles = iter([(OURS, "-"), (THEIRS, "-"), (FLOOR, "--")])
    for name in sorted(found, key=lambda n: (not n.startswith(("fx", growth.TOGETHER)), n)):
        places = [(int(size), e["median"]) for size, e in found[name].items() if "median" in e]
        tint, line = next(styles)
        sizes, values = [size for size, _ in places], [value for _, value in places]
        axis.plot(sizes, values, line, color=tint, marker="o", markersize=3, label=name)
    axis.set_xscale("log", base=2)
    sizes = sorted({int(size) for curve in found.values() for size in curve})
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter("{x:,.0f}")
    axis.set_ylim(bottom=0)
    axis.set_title(heading, loc="left", size=9)
    axis.set_xlabel(label, size=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=7)


def _figure(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    rows = -(-count // columns)
    figure = Figure(figsize=(4.8 * columns, height * rows), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes


def training(results: Results) -> Figure:
    figure, axes = _figure(len(results), min(2, len(results)), 3.0)
    for axis, (name, entry) in zip(axes, results.items()):
        bars(axis, entry["contenders"], title(name, entry), entry["unit"])
    return figure


def pipeline(results: Results) -> Figure:
    figure, axes = _figure(len(results), min(2, len(results)), 1.9)
    for axis, entry in zip(axes, results.values()):
        heading = f"the whole pipeline, {entry['settings']['precision']}"
        bars(axis, entry["contenders"], heading, "images/s")
    return figure


def inference(results: Results) -> Figure:
    (entry,) = results.values()
    figure, axes = _figure(len(entry["batches"]), len(entry["batches"]), 2.6)
    for axis, (batch, contenders) in zip(axes, entry["batches"].items()):
        bars(axis, contenders, f"inference, batch {batch}", "images/s")
    return figure


def growing(results: Results) -> Figure:
    (entry,) = results.values()
    words = {
        "batch": ("training step, images/s", "batch"),
        "data": ("loader, images/s", "images in the data set"),
        "seeds": ("MLP, epochs of a run/s", "seeds"),
    }
    figure, axes = _figure(len(entry["parts"]), len(entry["parts"]), 2.9)
    for axis, (part, found) in zip(axes, entry["parts"].items()):
        curves(axis, found, *words[part])
    return figure


def records(results: Results) -> Figure:
    figure, axes = _figure(len(results), len(results), 1.9)
    for axis, entry in zip(axes, results.values()):
        heading = f"CIFAR-10 to {entry['settings']['target']} %"
        bars(axis, entry["contenders"], heading, "seconds a run")
    return figure


PICTURES: dict[str, Draw] = {
    "train_step": training,
    "pipeline": pipeline,
    "inference": inference,
    "growth": growing,
    "speedrun": records,
}


def draw(results: Results, folder: Path) -> dict[tuple[str, str], str]:
    """Draw what there are results for; returns the files' names by claim and device."""
    made = {}
    for claim, picture in PICTURES.items():
        for kind in ("cpu", "gpu"):
            chosen = of(results, claim, kind)
            if chosen:
                name = f"benchmarks-{claim.replace('_', '-')}-{kind}.png"
                figure = picture(chosen)
                figure.savefig(folder / name, metadata={"Description": digest(chosen)})
                made[claim, kind] = name
    return made
