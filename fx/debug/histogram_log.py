"""Histograms of the weights during a run, for TensorBoard."""

import importlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fx.debug import diagnostics


class Histograms:
    """Write a histogram of each parameter for TensorBoard, at the end of epochs.

    Args:
        folder: Where the event files go; `run/tensorboard`, say.
        every: Epochs between two histograms.
        bins: Of each histogram.
        of: `ts -> pytree` to draw in place of the parameters.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed.
        ValueError: every or bins below 1.

    Example:
        >>> import tempfile
        >>> listener = Histograms(tempfile.mkdtemp(), every=5)
        >>> fx.fit(step, ts, loader, epochs=20, callbacks=[listener])  # doctest: +SKIP
        >>> listener.close()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int = 1,
        bins: int = 64,
        of: Callable[[Any], Any] = lambda ts: ts.params,
    ) -> None:
        if every < 1 or bins < 1:
            raise ValueError(
                f"Histograms: expected every and bins of 1 or more, got {every}, {bins}"
            )
        try:
            writer = importlib.import_module("tensorboardX").SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "Histograms needs tensorboardX: pip install '.[tensorboard]' in fx's folder"
            ) from error
        self.writer = writer(str(folder))
        self.every, self.of = every, of
        self.count = jax.jit(lambda tree: diagnostics.histograms(tree, bins))

    def __call__(self, event: Any) -> None:
        """Write them, where an epoch ends and its turn has come."""
        if event.kind != "epoch" or event.epoch % self.every:
            return
        for name, found in jax.device_get(self.count(self.of(event.ts))).items():
            write(self.writer, f"histogram/{name}", found, event.step)

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()


def write(writer: Any, tag: str, found: dict[str, np.ndarray], step: int) -> None:
    """Write one histogram of `diagnostics.histograms` with a tensorboardX writer."""
    counts, edges = found["counts"].astype(np.float64), found["edges"].astype(np.float64)
    total, mean, std = counts.sum(), float(found["mean"]), float(found["std"])
    writer.add_histogram_raw(
        tag,
        min=float(edges[0]),
        max=float(edges[-1]),
        num=int(total),
        sum=mean * total,
        sum_squares=(std**2 + mean**2) * total,
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )
