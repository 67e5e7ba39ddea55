"""What a figure was measured on, and how much memory a process takes."""

import contextlib
import importlib.metadata
import os
import platform
import resource
from pathlib import Path
from typing import Any

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "onnxruntime", "grain")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """The class of machine, without what would name this one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":", 1)[1].strip() for x in lines if "model name" in x), model)
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu": model,
        "cores": cores,
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def resident_bytes() -> int:
    """Memory of this process that is in RAM now."""
    return _status("VmRSS")


def peak_resident_bytes() -> int:
    """The most it has been, since the start or since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Where the system allows it; elsewhere the peak stays that of the whole life."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    file = Path("/proc/self/status")
    if not file.exists():  # macOS, which counts in bytes and knows only the peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = file.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
