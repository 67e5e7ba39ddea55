"""What the pictures share: figure, file, colours, names.

matplotlib is imported on use, through its object interface: no window, no pyplot state, no backend
to choose, and threads do not meet.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fx.evaluate.files import write_atomic

# Okabe and Ito's colours, which most colour-blind people can tell apart.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, INK = "#8C8C8C", "#333333"
_DPI = 150


def figure(width_in: float, height_in: float) -> Any:
    """Returns an empty figure, or raises ImportError that names the extra."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "fx.evaluate.plots: expected matplotlib, which is not installed; "
            "pip install '.[plots]' in fx's folder"
        ) from error
    return Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")


def open_frame(*axes: Any) -> None:
    """Leaves of each frame what carries a scale."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Writes the figure in the format that the path ends in, whole or not at all."""
    path = Path(path)
    kind = path.suffix.removeprefix(".") or "png"
    data = io.BytesIO()
    figure.savefig(data, format=kind, dpi=_DPI, facecolor="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data.getvalue())
    return path


def plain_text(text: str) -> str:
    """A name with two dollar signs would be read as mathematics."""
    return text.replace("$", r"\$")


def class_names(where: str, classes: Sequence[str] | None, count: int) -> list[str]:
    """Returns the names as matplotlib takes them, or raises where there are not ``count``."""
    names = [plain_text(str(name)) for name in (range(count) if classes is None else classes)]
    if len(names) != count:
        raise ValueError(f"{where}: expected {count} class names, got {len(names)}")
    return names
