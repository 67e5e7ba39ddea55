"""The manifest of a checkpoint: what its files and arrays must be."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fx import __version__

# 1: without "fx" and "optimizer". Whatever comes later keeps "format", "fx" and "sha256", so that
# every version can tell a newer checkpoint from a damaged one.
FORMAT = 2
NAME = "manifest.json"


class NewerFormat(ValueError):
    """A manifest that is sound, and of a format that a later version of fx writes."""


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Compare a checkpoint's files with its manifest.

    Args:
        path: One checkpoint, `run/checkpoints/<step>`.

    Returns:
        A sentence for each file that is missing, truncated or changed; empty where all is sound.
    """
    path = Path(path)
    try:
        manifest = read_manifest(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{NAME} cannot be used ({type(error).__name__}: {error})"]
    faults = []
    for name, entry in manifest["files"].items():
        file = path / name
        if not file.is_file():
            faults.append(f"{name} is missing")
        elif file.stat().st_size != entry["size_bytes"]:
            size = file.stat().st_size
            faults.append(f"{name} has {size} bytes instead of {entry['size_bytes']}")
        elif _sha256(file) != entry["sha256"]:
            faults.append(f"{name} was changed")
    return faults


def write_manifest(path: Path, facts: dict[str, Any]) -> None:
    """Hash every file in a folder, bring all of it to the disk, and write the manifest.

    Args:
        path: The folder.
        facts: What the manifest says beside the files: step, best, tree, optimizer.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    entries = {
        file.relative_to(path).as_posix(): {
            "size_bytes": file.stat().st_size,
            "sha256": _sha256(file, flush=True),
        }
        for file in files
    }
    manifest = {"format": FORMAT, "fx": __version__, **facts, "files": entries}
    manifest["sha256"] = _own_hash(manifest)
    file = path / NAME
    file.write_text(json.dumps(manifest, indent=1))
    _sha256(file, flush=True)
    for folder in (path, *(sub for sub in path.rglob("*") if sub.is_dir())):
        flush_folder(folder)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a checkpoint.

    Raises:
        NewerFormat: It is of a format that a later version of fx writes.
        OSError, ValueError, KeyError, TypeError: It is not there, or was changed.
    """
    manifest = json.loads((path / NAME).read_text())
    if manifest.pop("sha256") != _own_hash(manifest):
        raise ValueError("it does not have its own hash")
    if manifest["format"] > FORMAT:
        raise NewerFormat(
            f"format {manifest['format']}, written by fx {manifest.get('fx', 'of a later version')}"
            f"; fx {__version__} reads formats up to {FORMAT}"
        )
    return manifest


def newer(path: Path) -> NewerFormat | None:
    """Return what makes a checkpoint one for a later version of fx to read; None if it is not."""
    try:
        read_manifest(path)
    except NewerFormat as error:
        return error
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged: verify says how
    return None


def is_best(path: Path) -> bool | None:
    """Whether a checkpoint was the best of its run when it was written; None if nobody can tell."""
    try:
        return read_manifest(path)["best"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def flush_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where the system allows it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _own_hash(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path, *, flush: bool = False) -> str:
    with file.open("rb") as stream:
        if flush:  # a rename may reach the disk before the contents do
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
