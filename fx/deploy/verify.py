"""Checks a bundle: its files against their hashes, its program against its golden outputs."""

import os
from dataclasses import dataclass
from pathlib import Path

from jax import export

from fx.deploy import manifest
from fx.deploy.engine import golden_error, load_bundle


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        path: the bundle.
        damaged: what is wrong with each damaged file, by name; empty where nothing is.
        error: largest difference of the golden outputs, relative where magnitudes exceed 1; None
            where files are damaged, so that nothing was run.
        tolerance: what `error` may be.
        platform: where it was run: "cpu", "cuda", "rocm" or "tpu".
    """

    path: Path
    damaged: dict[str, str]
    error: float | None
    tolerance: float
    platform: str

    @property
    def ok(self) -> bool:
        """Whether the bundle is whole and computes what it computed when it was exported."""
        return not self.damaged and self.error is not None and self.error <= self.tolerance

    def __str__(self) -> str:
        """A line for each finding."""
        if self.damaged:
            return "\n".join(f"{name} {what}" for name, what in self.damaged.items())
        verdict = "ok" if self.ok else "FAILED"
        return (
            f"files: ok\ngolden output on {self.platform}: {verdict}, "
            f"differs by {self.error:.2g}, tolerance {self.tolerance:g}"
        )


def verify(path: str | os.PathLike[str], *, tolerance: float | None = None) -> Report:
    """Compares files with their hashes and runs the golden input.

    Args:
        path: the bundle's folder.
        tolerance: what the golden outputs may differ by; by default what the manifest
            says: 1e-4 for float32 on a CPU, else 2e-2, for products of TF32 or bfloat16.

    Returns:
        A report; `report.ok` is the verdict, `str(report)` says why.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is not a bundle, or this machine or version cannot run it.
    """
    path = Path(path)
    contents = manifest.read(path)
    manifest.check_runs_here(path, contents)
    platform = export.default_export_platform()
    limit = contents["golden"]["tolerance"][platform] if tolerance is None else tolerance
    damaged = manifest.damage(path, contents)
    error = None if damaged else golden_error(path, load_bundle(path, verify=False))
    return Report(path, damaged, error, limit, platform)
