"""Checkpoints of a run: written whole or not at all, verified before they are used.

A run's folder holds `checkpoints/<step>/`, and each of these:

    tree/          the arrays of the training state, written by orbax under their names
    loop.json      what the loop needs to go on: position, early stopping, history
    manifest.json  every other file with its size and sha256; every array with shape and dtype

A step is written to `<step>.tmp` and renamed when it is complete, so that a folder called by a
number is complete. Old steps are renamed before they are removed, for the same reason.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FORMAT = 1


def save(
    run_dir: str | os.PathLike[str],
    ts: Any,
    loop_state: dict[str, Any],
    *,
    keep: int = 2,
    best: bool = False,
) -> Path:
    """Write a checkpoint of a training state and of the loop around it, then remove old ones.

    Args:
        run_dir: The run's folder; the checkpoint goes to `run_dir/checkpoints/<step>`. A step that
            is there already is replaced.
        ts: A pytree of arrays with an attribute `step`. Typed PRNG keys, bfloat16 and sharded
            arrays are kept as they are.
        loop_state: Nested dictionaries (with text as keys) and lists of numbers, text, True, False
            and None. Floats come back to the bit, nan and infinities included.
        keep: How many of the newest steps to keep; the newest best one is kept as well.
        best: Whether this is the best step so far.

    Returns:
        The checkpoint's folder.

    Raises:
        ValueError: keep below 1, or a state whose arrays were donated to a later step.
        TypeError: Something in loop_state that JSON would lose or change.

    Example:
        >>> import tempfile
        >>> import jax
        >>> import fx
        >>> class Scale:
        ...     def init(self, key):
        ...         return {"weight": jax.random.normal(key, (3,))}, {}
        >>> ts = fx.train.create(Scale(), fx.optim.sgd(0.1), jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as run:
        ...     save(run, ts, {"epoch": 0}).name
        ...     ts, loop_state = restore(run, like=ts)
        '0'
        >>> loop_state
        {'epoch': 0}
    """
    if keep < 1:
        raise ValueError(f"checkpoint.save: expected keep of 1 or more, got {keep}")
    _check_json(loop_state, "loop_state")
    arrays = _named(ts)
    gone = [name for name, a in arrays.items() if isinstance(a, jax.Array) and a.is_deleted()]
    if gone:
        raise ValueError(
            f"checkpoint.save: {', '.join(gone)} went into a later step, which reused the memory; "
            "save the state that the step returned, or make the step with donate=False"
        )
    folder = _folder(run_dir)
    step = int(jax.device_get(ts.step))
    final, temporary = folder / str(step), folder / f"{step}.tmp"
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(folder)
        temporary.mkdir()
    _barrier("before")
    _orbax().save(str(temporary / "tree"), {n: a for n, a in arrays.items() if _stored(a)})
    if jax.process_index() == 0:
        (temporary / "loop.json").write_text(json.dumps(loop_state, indent=1))
        _write_manifest(temporary, step, best, arrays)
        _replace(temporary, final)
        _prune(folder, step, keep)
    _barrier("after")
    return final


def restore(
    run_dir: str | os.PathLike[str],
    like: Any,
    which: str = "latest",
    *,
    notify: Callable[[str], None] = print,
) -> tuple[Any, dict[str, Any]]:
    """Read the newest sound checkpoint of a run.

    Every file is compared with its hash first. A step with a missing, truncated or changed file is
    passed over, said so, and the one before is read.

    Args:
        run_dir: The run's folder.
        like: A pytree of the structure, shapes and dtypes that are expected: a fresh training
            state, or `jax.eval_shape` of its making. Arrays come back with the shardings of `like`.
        which: "latest" or "best".
        notify: Called with a sentence when a step is passed over.

    Returns:
        The training state and the loop state.

    Raises:
        FileNotFoundError: The run has no checkpoint (or no best one).
        ValueError: None of them is sound; the faults of each are listed. Or the checkpoint is of
            another model or optimizer: names, shapes and dtypes that differ are listed all at once.

    Source: orbax alone reads flipped bytes, casts dtypes and fills partial trees without a word.
    """
    if which not in ("latest", "best"):
        raise ValueError(f'checkpoint.restore: expected which="latest" or "best", got {which!r}')
    path = _newest_sound(_folder(run_dir), which, notify)
    manifest = _read_manifest(path)
    expected = _named(like)
    _check_tree(path, manifest["tree"], expected)
    abstract = {name: _abstract(leaf) for name, leaf in expected.items() if _stored(leaf)}
    loaded = _orbax().load(str(path / "tree"), abstract)
    leaves = [loaded[n] if n in loaded else _empty(leaf) for n, leaf in expected.items()]
    ts = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return ts, json.loads((path / "loop.json").read_text())


def steps(run_dir: str | os.PathLike[str]) -> list[int]:
    """List the steps that a run has checkpoints of, oldest first; sound or not.

    Example:
        >>> steps("no/such/run")
        []
    """
    return sorted({_step_of(path) for path in _candidates(_folder(run_dir))})


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Compare a checkpoint's files with its manifest.

    Args:
        path: One checkpoint, `run/checkpoints/<step>`.

    Returns:
        A sentence for each file that is missing, truncated or changed; empty where all is sound.
    """
    path = Path(path)
    try:
        manifest = _read_manifest(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"manifest.json cannot be used ({type(error).__name__}: {error})"]
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


def _orbax():
    from orbax.checkpoint import v1  # takes half a second, and no other part of fx needs it

    return v1


def _folder(run_dir: str | os.PathLike[str]) -> Path:
    return Path(run_dir).absolute() / "checkpoints"


def _barrier(name: str) -> None:
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(f"fx.checkpoint {name}")


def _named(tree: Any) -> dict[str, Any]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in pairs}
    if len(named) != len(pairs):
        raise ValueError(
            "checkpoint: two arrays have the same name when their path is written with '/'; "
            "use names without '/'"
        )
    return named


def _stored(leaf: Any) -> bool:
    return math.prod(jnp.shape(leaf)) > 0  # orbax refuses arrays without elements


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(jnp.shape(leaf), _dtype(leaf), sharding=sharding)


def _empty(leaf: Any) -> jax.Array:
    return jnp.zeros(jnp.shape(leaf), _dtype(leaf))


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _check_tree(path: Path, saved: dict[str, Any], expected: dict[str, Any]) -> None:
    faults = [f"{name}: not in the checkpoint" for name in expected if name not in saved]
    faults += [f"{name}: only in the checkpoint" for name in saved if name not in expected]
    for name in expected:
        if name in saved:
            want, have = _spec(expected[name]), saved[name]
            if want != have:
                faults.append(f"{name}: expected {_text(want)}, the checkpoint has {_text(have)}")
    if faults:
        raise ValueError(
            f"checkpoint {path}: it was made by another model or optimizer, or by other settings "
            "of these:\n  " + "\n  ".join(faults)
        )


def _spec(leaf: Any) -> dict[str, Any]:
    return {"shape": list(jnp.shape(leaf)), "dtype": str(_dtype(leaf))}


def _text(spec: dict[str, Any]) -> str:
    return f"{spec['dtype']}{spec['shape']}"


def _write_manifest(path: Path, step: int, best: bool, arrays: dict[str, Any]) -> None:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    entries = {
        file.relative_to(path).as_posix(): {
            "size_bytes": file.stat().st_size,
            "sha256": _sha256(file, flush=True),
        }
        for file in files
    }
    tree = {name: _spec(leaf) for name, leaf in arrays.items()}
    manifest = {"format": FORMAT, "step": step, "best": best, "files": entries, "tree": tree}
    manifest["sha256"] = _own_hash(manifest)
    file = path / "manifest.json"
    file.write_text(json.dumps(manifest, indent=1))
    _sha256(file, flush=True)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = json.loads((path / "manifest.json").read_text())
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']}, this version of fx reads {FORMAT}")
    if manifest.pop("sha256") != _own_hash(manifest):
        raise ValueError("it does not have its own hash")
    return manifest


def _own_hash(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path, *, flush: bool = False) -> str:
    with file.open("rb") as stream:
        if flush:  # a rename may reach the disk before the contents do
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _candidates(folder: Path) -> list[Path]:
    """Complete steps, newest first; a step that was being replaced comes after its replacement."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name.removesuffix(".old").isdecimal():
            found.append(path)
    return sorted(found, key=lambda path: (_step_of(path), path.suffix == ""), reverse=True)


def _step_of(path: Path) -> int:
    return int(path.name.removesuffix(".old"))


def _newest_sound(folder: Path, which: str, notify: Callable[[str], None]) -> Path:
    faults = []
    for path in _candidates(folder):
        if which == "best" and _is_best(path) is False:
            continue
        found = verify(path)
        if not found:
            if faults:
                notify(f"{'; '.join(faults)}. Using step {_step_of(path)} instead.")
            return path
        faults.append(f"checkpoint {path} is damaged: {', '.join(found)}")
    if faults:
        raise ValueError("no sound checkpoint is left. " + "; ".join(faults))
    raise FileNotFoundError(f"no {'best ' * (which == 'best')}checkpoint in {folder}")


def _is_best(path: Path) -> bool | None:
    try:
        return _read_manifest(path)["best"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it cannot be known


def _replace(temporary: Path, final: Path) -> None:
    # Two renames: a process that dies between them leaves <step>.old, which restore reads.
    old = final.with_name(f"{final.name}.old")
    if final.exists():
        _remove(old)
        final.rename(old)
    temporary.rename(final)
    _remove(old)
    _flush_folder(final.parent)


def _prune(folder: Path, step: int, keep: int) -> None:
    """Remove steps before `step`, except the newest and the best; set damaged later ones aside."""
    past = [path for path in _candidates(folder) if _step_of(path) <= step]
    best = [path for path in past if _is_best(path)]
    if len(best) > 1 and _step_of(best[0]) < step:  # the one just written needs no second look
        best = [path for path in best if not verify(path)] or best
    for path in past[keep:]:
        if path not in best[:1]:
            _remove(path)
    for path in _candidates(folder):
        # The run went on from before a damaged step. Left there, it would be found at each restart.
        if _step_of(path) > step and verify(path):
            path.rename(path.with_name(f"{path.name}.damaged"))


def _remove(path: Path) -> None:
    if path.exists():
        doomed = path.with_name(f"{path.name}.deleted")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _clear_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if path.suffix in (".tmp", ".deleted"):
            shutil.rmtree(path, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_json(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: expected text as keys, got {key!r}; use str({key!r})")
            _check_json(item, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(
            f"{where}: expected dict, list, text, number, bool or None, got "
            f"{type(value).__name__}; JSON would lose it or change it; convert it first"
        )
