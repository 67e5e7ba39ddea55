"""A training state as named arrays: their descriptions, their copies, and what does not fit."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_LISTED = 40  # of each part of the state; more would hide what matters
_WIDE = ("int64", "uint64", "float64", "complex128")
_HELP = {
    "params": "The model's parameters differ: another class, another size, or another name of a "
    "part.",
    "state": "The model's state (running statistics and other buffers) differs.",
    "key": "The key is of another generator: make it with the impl that it was made with.",
}


def named(tree: Any) -> dict[str, Any]:
    """Return the leaves of a pytree by their paths, written with '/'."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    found = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in pairs}
    if len(found) != len(pairs):
        raise ValueError(
            "checkpoint: two arrays have the same name when their path is written with '/'; "
            "use names without '/'"
        )
    return found


def is_stored(leaf: Any) -> bool:
    """Whether orbax takes it: it refuses arrays without elements."""
    return math.prod(jnp.shape(leaf)) > 0


def abstract(leaf: Any) -> jax.ShapeDtypeStruct | np.ndarray:
    """Describe to orbax what an array must be read as, and where it must be placed."""
    if str(_dtype(leaf)) in _WIDE:
        # orbax reads on threads of its own, where `with jax.enable_x64(True)` does not reach and
        # 64 bits would silently become 32; NumPy's arrays stay as they are.
        return np.empty(jnp.shape(leaf), _dtype(leaf))
    return jax.ShapeDtypeStruct(jnp.shape(leaf), _dtype(leaf), sharding=_sharding(leaf))


def place(array: Any, leaf: Any) -> Any:
    """Put what orbax read where `leaf` is; 64-bit arrays stay NumPy's where jax has none."""
    config: Any = jax.config
    if isinstance(array, np.ndarray) and config.jax_enable_x64:
        return jax.device_put(array, _sharding(leaf))
    return array


def empty(leaf: Any) -> jax.Array:
    """Make an array without elements."""
    return jnp.zeros(jnp.shape(leaf), _dtype(leaf))


def spec(leaf: Any) -> dict[str, Any]:
    """Describe an array for the manifest."""
    return {"shape": list(jnp.shape(leaf)), "dtype": str(_dtype(leaf))}


def state_names(tree: Any) -> list[str]:
    """List the classes in an optimizer's state, such as optax's ScaleByAdamState, in order."""
    return [name for name in _classes(getattr(tree, "opt_state", ())) if name != "EmptyState"]


def copies(arrays: dict[str, Any]) -> dict[str, Any]:
    """Copy arrays without waiting for them, so that a later step may reuse their memory.

    Those of an accelerator's arrays lie in the host's memory, and so take none of the device's.
    """
    ours = {name: leaf for name, leaf in arrays.items() if isinstance(leaf, jax.Array)}
    moved = jax.device_put(
        list(ours.values()), [_beside(leaf) for leaf in ours.values()], may_alias=False
    )
    rest = {
        name: leaf.copy() if isinstance(leaf, np.ndarray) else leaf
        for name, leaf in arrays.items()
        if name not in ours
    }
    return {**dict(zip(ours, moved)), **rest}


def check_tree(path: Path, manifest: dict[str, Any], like: Any) -> dict[str, Any]:
    """Return the leaves of `like` by name, after a check that the checkpoint has just these.

    Raises:
        ValueError: It has others; all differences are listed.
    """
    expected, saved = named(like), manifest["tree"]
    faults = _faults(saved, expected)
    if not faults:
        return expected
    parts: dict[str, list[str]] = {}
    for name, text in faults.items():
        parts.setdefault(name.split("/", 1)[0], []).append(f"  {name}: {text}")
    lines = [line for part in parts.values() for line in _shortened(part)]
    lines += [_HELP[part] for part in parts if part in _HELP]
    before, now = manifest.get("optimizer"), state_names(like)
    if before is not None and before != now:
        lines.append(f"The optimizer's state was made of {before} and now is of {now}.")
    raise ValueError(
        f"checkpoint {path}: it was made by another model or optimizer, or by other settings of "
        "these:\n" + "\n".join(lines) + "\nTo go on with the run, make both as they were when it "
        "was saved; to start another run from its weights, or to use them, read these alone into "
        "the model as it was: params, state = checkpoint.restore_weights(run_dir, model); another "
        "model takes what it has of them by load_state_dict(other, state_dict(model, params, "
        "state), strict=False)"
    )


def _faults(saved: dict[str, Any], expected: dict[str, Any]) -> dict[str, str]:
    faults = {}
    for name, leaf in expected.items():
        if name not in saved:
            twin = _renamed(name, spec(leaf), saved, expected)
            faults[name] = "not in the checkpoint" + (f", which has {twin}" if twin else "")
        elif (want := spec(leaf)) != (have := saved[name]):
            faults[name] = f"expected {_text(want)}, the checkpoint has {_text(have)}"
    faults |= {name: "only in the checkpoint" for name in saved if name not in expected}
    return _without_echoes(faults)


def _renamed(name: str, want: dict[str, Any], saved: dict, expected: dict) -> str | None:
    """The one array that only the checkpoint has and that this one may have been called."""
    part, last = name.split("/", 1)[0], name.rsplit("/", 1)[-1]
    twins = [
        other
        for other, have in saved.items()
        if other not in expected and have == want and other.startswith(f"{part}/")
        if other.rsplit("/", 1)[-1] == last
    ]
    return twins[0] if len(twins) == 1 else None


def _without_echoes(faults: dict[str, str]) -> dict[str, str]:
    """Leave out what an optimizer keeps for each parameter, where the parameter has the fault."""
    echoed = {
        name.removeprefix("params/"): text
        for name, text in faults.items()
        if name.startswith("params/")
    }
    kept, left_out = {}, 0
    for name, text in faults.items():
        inside = name.split("/")[1:] if name.startswith("opt_state/") else []
        tails = ("/".join(inside[start:]) for start in range(len(inside)))
        if any(_same_fault(echoed.get(tail), text) for tail in tails):
            left_out += 1
        else:
            kept[name] = text
    if left_out:
        kept["opt_state"] = f"the same for {left_out} arrays that go with these parameters"
    return kept


def _same_fault(one: str | None, other: str) -> bool:
    return one is not None and one.split(", which has")[0] == other.split(", which has")[0]


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - _LISTED
    return lines if more <= 1 else [*lines[:_LISTED], f"  and {more} more"]


def _sharding(leaf: Any) -> jax.sharding.Sharding:
    sharding = getattr(leaf, "sharding", None)
    return sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _beside(leaf: jax.Array) -> jax.sharding.Sharding:
    device = next(iter(leaf.sharding.device_set))
    kinds = {memory.kind for memory in device.addressable_memories()}
    if device.platform == "cpu" or "pinned_host" not in kinds:
        return leaf.sharding
    return leaf.sharding.with_memory_kind("pinned_host")


def _classes(node: Any) -> Iterator[str]:
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        yield type(node).__name__
    if dataclasses.is_dataclass(node):
        children: Any = vars(node).values()
    elif isinstance(node, dict):
        children = node.values()
    else:
        children = node if isinstance(node, tuple | list) else ()
    for child in children:
        yield from _classes(child)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _text(described: dict[str, Any]) -> str:
    return f"{described['dtype']}{described['shape']}"
