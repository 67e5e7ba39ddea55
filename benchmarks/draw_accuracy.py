"""Draw benchmarks/results/accuracy.json as docs/images/accuracy.png."""

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {"fx": "#0072B2", "torch": "#D55E00"}
LABELS = {"fx": "fx", "torch": "PyTorch eager"}


def main(
    results: Path = Path("benchmarks/results/accuracy.json"),
    picture: Path = Path("docs/images/accuracy.png"),
) -> None:
    """Draw test accuracy over epochs: a line a run, a colour a framework, dashes for full."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained", dpi=140)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    seen: set[str] = set()
    for name, run in json.loads(results.read_text()).items():
        framework, augment = name.split()[:2]
        accuracy = [100 * row["test_accuracy"] for row in run["epochs"]]
        label = f"{LABELS[framework]}, {'flips' if augment == 'flip' else 'full augmentation'}"
        axis.plot(
            range(1, len(accuracy) + 1),
            accuracy,
            color=COLOURS[framework],
            linestyle="-" if augment == "flip" else "--",
            linewidth=1.6,
            marker="o",
            markersize=3,
            label=None if label in seen else label,
        )
        seen.add(label)
    axis.set_xlabel("epoch")
    axis.set_ylabel("test accuracy, %")
    axis.set_title("CIFAR-10, the first epochs of 100; a line for each seed", loc="left", size=10)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, loc="lower right")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
