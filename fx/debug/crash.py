"""The step that went wrong, kept on disk: state, batch and report."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.evaluate.files import write_atomic
from fx.interop.weights import read_weights, write_weights

_TEXT, _ARRAYS, _INDEX = "report.txt", "arrays.safetensors", "crash.json"


def save_crash(folder: str | os.PathLike[str], step: Any, ts: Any, batch: Any, report: Any) -> Path:
    """Keep a bad step: the state before it, its batch, and what is known.

    The folder gets `arrays.safetensors` (every leaf of state and batch), `crash.json` (shapes, and
    how PRNG keys were made) and `report.txt`. They hold no code.

    Args:
        folder: Where to; made if missing, and a crash that is there is replaced.
        step: The step that ran; how it prints is kept.
        ts: The state before the step, its key included.
        batch: The step's batch.
        report: From `xray`, or any text.

    Returns:
        The folder.

    Example:
        >>> import tempfile
        >>> folder = save_crash(tempfile.mkdtemp(), None, {"key": jax.random.key(1)}, 2.0, "why")
        >>> ts, batch = load_crash(folder, {"key": jax.random.key(0)}, 0.0)
        >>> print(jax.random.key_data(ts["key"]), batch)
        [0 1] 2.0
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays, leaves = {}, {}
    for name, leaf in _named(ts, batch).items():
        arrays[name], leaves[name] = _plain(leaf)
    write_weights(folder / _ARRAYS, arrays)
    versions = {"jax": jax.__version__, "step": repr(step), "leaves": leaves}
    write_atomic(folder / _INDEX, json.dumps(versions, indent=1).encode())
    write_atomic(folder / _TEXT, f"{report}\n".encode())
    return folder


def load_crash(folder: str | os.PathLike[str], ts: Any, batch: Any) -> tuple[Any, Any]:
    """Read a bad step again, to replay it with `xray(step, *load_crash(folder, ts, batch))`.

    Args:
        folder: From `save_crash`.
        ts: A state of the same structure, from `train.create`; only its structure is used.
        batch: A batch of the same structure.

    Returns:
        The state before the bad step, and its batch.

    Raises:
        FileNotFoundError: The folder holds no crash.
        ValueError: The crash has other names or shapes of state than `ts`, or other names of
            batch; the batch may have any size.
    """
    folder = Path(folder)
    if not (folder / _INDEX).exists():
        raise FileNotFoundError(f"load_crash: no crash in {folder}; expected {_INDEX} there")
    about = json.loads((folder / _INDEX).read_text())["leaves"]
    arrays = read_weights(folder / _ARRAYS)
    wanted = _named(ts, batch)
    faults = [f"{name} is not in it" for name in wanted if name not in arrays]
    faults += [f"{name} is not expected" for name in arrays if name not in wanted]
    for name, leaf in wanted.items():
        kept, given = about.get(name, {}).get("shape"), list(np.shape(leaf))
        if name.startswith("ts") and name in arrays and kept != given:
            faults.append(f"{name} is {kept} in it and {given} here")
    if faults:
        raise ValueError(
            f"load_crash: the crash in {folder} does not fit: {'; '.join(faults)}; make ts with "
            "the model and optimizer that the run had"
        )
    read = {name: _read(arrays[name], about[name]) for name in wanted}
    leaves, structure = jax.tree.flatten((ts, batch))
    return jax.tree.unflatten(structure, [read[name] for name, _ in zip(wanted, leaves)])


def _named(ts: Any, batch: Any) -> dict[str, Any]:
    both = jax.tree_util.tree_leaves_with_path((ts, batch))
    return {
        f"{('ts', 'batch')[path[0].idx]}{jax.tree_util.keystr(path[1:])}": leaf  # type: ignore[attr-defined]
        for path, leaf in both
    }


def _plain(leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    shape = list(np.shape(leaf))
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        kind = {"key": str(jax.random.key_impl(leaf)), "shape": shape}
        return np.asarray(jax.random.key_data(leaf)), kind
    return np.asarray(leaf), {"shape": shape}


def _read(array: np.ndarray, about: dict[str, Any]) -> jax.Array:
    key = about.get("key")
    data = jnp.asarray(array)
    return data if key is None else jax.random.wrap_key_data(data, impl=key)
