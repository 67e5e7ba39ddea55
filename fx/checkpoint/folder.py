"""The folders of a run's checkpoints: which there are, replacing one, removing old ones."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from fx.checkpoint.manifest import flush_folder, is_best, newer, verify


def folder_of(run_dir: str | os.PathLike[str]) -> Path:
    """Return the folder of a run's checkpoints."""
    return Path(run_dir).absolute() / "checkpoints"


def candidates(folder: Path) -> list[Path]:
    """Complete steps, newest first; a step that was being replaced comes after its replacement."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name.removesuffix(".old").isdecimal():
            found.append(path)
    return sorted(found, key=lambda path: (step_of(path), path.suffix == ""), reverse=True)


def step_of(path: Path) -> int:
    """Return the step of a checkpoint's folder."""
    return int(path.name.removesuffix(".old"))


def known_steps(folder: Path) -> list[int]:
    """Return the steps that there are, oldest first; sound or not."""
    return sorted({step_of(path) for path in candidates(folder)})


def begin(folder: Path, step: int) -> Path:
    """Make the folder that a step is written to, after removing what earlier ones left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in (".tmp", ".deleted"):
            shutil.rmtree(path, ignore_errors=True)
    temporary = folder / f"{step}.tmp"
    temporary.mkdir()
    return temporary


def replace(temporary: Path, final: Path) -> None:
    """Give a complete step its name, in place of one that is there."""
    # Two renames: a process that dies between them leaves <step>.old, which restore reads.
    old = final.with_name(f"{final.name}.old")
    if final.exists():
        remove(old)
        final.rename(old)
    temporary.rename(final)
    remove(old)
    flush_folder(final.parent)


def prune(folder: Path, step: int, keep: int, hold: Collection[int]) -> None:
    """Remove steps before `step`, except the newest, the best and those to hold.

    Damaged later ones are set aside.
    """
    found = [
        path for path in candidates(folder) if newer(path) is None
    ]  # those are not ours to judge
    past = [path for path in found if step_of(path) <= step]
    best = [path for path in past if is_best(path)]
    if len(best) > 1 and step_of(best[0]) < step:  # the one just written needs no second look
        best = [path for path in best if not verify(path)] or best
    for path in past[keep:]:
        if path not in best[:1] and step_of(path) not in hold:
            remove(path)
    for path in found:
        # The run went on from before a damaged step. Left there, it would be found at each restart.
        if step_of(path) > step and verify(path):
            path.rename(path.with_name(f"{path.name}.damaged"))


def remove(path: Path) -> None:
    """Remove a step such that half of it is never taken for one."""
    if path.exists():
        doomed = path.with_name(f"{path.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
