"""Host batches onto devices: widths that fit, memory of their own, shards of a global batch."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from fx.data.checks import as_integer


def check_leaves(where: str, tree: Any) -> None:
    """Raise where a leaf cannot become a JAX array as it is.

    Raises:
        TypeError: a leaf is not an array of numbers or booleans.
        ValueError: 64-bit integers do not fit into 32 bits, and x64 is not enabled.
    """
    config: Any = jax.config
    if isinstance(tree, tuple | list) and len(tree) == 2 and tree[1] is None:  # no targets
        tree = (tree[0],)
    for path, leaf in jax.tree.leaves_with_path(tree, is_leaf=lambda x: x is None):
        if isinstance(leaf, jax.Array):
            continue
        kind = getattr(getattr(leaf, "dtype", None), "kind", None)
        if kind is None or kind in "OSUMm":
            came = f"dtype {leaf.dtype}" if kind else type(leaf).__name__
            raise TypeError(
                f"{where}: expected {_name(path)} to be an array of numbers, got {came}; lengths "
                "that differ need collate=fx.data.PadCollate(), images of other sizes or modes and "
                "text a transform= that makes them arrays of one shape"
            )
        if not leaf.dtype.isnative:
            raise TypeError(
                f"{where}: expected {_name(path)} in this machine's byte order, got dtype "
                f'{leaf.dtype.str}; convert it: x.astype("{leaf.dtype.str[1:]}")'
            )
        if leaf.dtype.itemsize < 8 or config.jax_enable_x64:
            continue
        if wide := too_wide(_name(path), leaf):
            raise ValueError(
                f"{where}: {wide}, and without x64 JAX would wrap them around; renumber them, or "
                'jax.config.update("jax_enable_x64", True) before any array is made'
            )


def too_wide(name: str, leaf: np.ndarray) -> str:
    """Say what of 64-bit integers 32 bits cannot hold; nothing where they fit."""
    if leaf.dtype.kind not in "iu" or leaf.dtype.itemsize < 8 or not leaf.size:
        return ""
    least, most = int(leaf.min()), int(leaf.max())
    narrow = np.iinfo(f"{leaf.dtype.kind}4")
    if least >= narrow.min and most <= narrow.max:
        return ""
    return (
        f"expected {name} ({leaf.dtype}) to fit into {narrow.dtype}, got values "
        f"from {least} to {most}"
    )


def share(size: int, shard: tuple[int, int] | None, sharding: Sharding | None) -> np.ndarray:
    """Return which places of a batch this process reads, int64, ascending.

    Args:
        size: examples in the global batch.
        shard: `(index, count)`; None leaves it to the sharding.
        sharding: of the global batch; with one process, and without a sharding, it is all places.
    """
    if shard is not None:
        return np.array_split(np.arange(size), shard[1])[shard[0]]
    if isinstance(sharding, NamedSharding) and not sharding.is_fully_addressable:
        if size % _parts(sharding):  # whole on every device
            return np.arange(size)
        slices = of_rows(sharding).addressable_devices_indices_map((size,)).values()
        return np.unique(np.concatenate([np.arange(size)[s] for s in slices]))
    return np.arange(size)


def check_share(
    where: str, size: int, shard: tuple[int, int] | None, sharding: Sharding | None, rest: int = 0
) -> None:
    """Raise where batches cannot be shared out.

    Args:
        where: the caller's name, for its error.
        size: examples in a batch.
        shard: `(index, count)`, or None.
        sharding: of the batch, or None.
        rest: examples in a shorter last one; it may lie whole on every device, but parts that
            processes read by themselves must be alike.

    Raises:
        TypeError: `shard` is no pair of integers; `sharding` is not a sharding, or not a
            `NamedSharding` among processes.
        ValueError: both are given; a shard out of range; a batch that does not divide.
    """
    if shard is not None:
        if sharding is not None:
            raise ValueError(
                f"{where}: expected shard= or sharding=, got both; sharding= knows which rows "
                "each process holds"
            )
        if not isinstance(shard, tuple) or len(shard) != 2:
            raise TypeError(f"{where}: expected shard to be (index, count), got {shard!r}")
        index, count = (as_integer(where, "shard", part) for part in shard)
        if not 0 <= index < count:
            raise ValueError(
                f"{where}: expected shard (index, count) with index from 0 to count - 1, got "
                f"{shard}; jax.process_index() and jax.process_count() are such a pair"
            )
        _divide(where, size, count, "shards")
        _divide(where, rest, count, "shards")
    if sharding is None:
        return
    if not isinstance(sharding, Sharding):
        raise TypeError(
            f"{where}: expected sharding to be a jax.sharding.Sharding, got "
            f"{type(sharding).__name__}; a mesh becomes one by jax.NamedSharding(mesh, jax.P(...))"
        )
    if isinstance(sharding, NamedSharding):
        _divide(where, size, _parts(sharding), "devices")
    elif not sharding.is_fully_addressable:
        raise TypeError(
            f"{where}: expected a NamedSharding, which says which rows each process holds, got "
            f"{type(sharding).__name__}; make one with jax.NamedSharding(mesh, jax.P(...))"
        )


def _divide(where: str, size: int, count: int, things: str) -> None:
    if size % count:
        raise ValueError(
            f"{where}: expected batches that divide over {count} {things}, got one of {size} "
            f"examples; choose a batch_size that {count} divides, and drop_last=True where "
            "the last batch is shorter"
        )


def _parts(sharding: NamedSharding) -> int:
    """Into how many parts a sharding splits the batch's axis."""
    devices = sharding.mesh.size
    return devices // of_rows(sharding).shard_shape((devices,))[0]


def place(
    batch: Any,
    sharding: Sharding | None = None,
    *,
    size: int | None = None,
    stacked: bool = False,
    fresh: bool = False,
) -> Any:
    """Put a host batch on the device, or this process's part of it on its devices.

    Args:
        batch: a tree of arrays: the rows that `share` names.
        sharding: of the global batch `[B, ...]`; None is JAX's default device.
        size: B; None is the rows that are here times the processes.
        stacked: leaves are `[k, B, ...]`.
        fresh: nobody else holds the arrays' memory.

    Returns:
        The tree with `jax.Array` leaves.
    """
    if not fresh:
        # On a CPU device_put takes over an array's memory: whoever writes into it later, as
        # readers that use one buffer again do, would write into the batch.
        batch = jax.tree.map(lambda x: x if isinstance(x, jax.Array) else np.array(x), batch)
    if sharding is None:
        return jax.device_put(batch)
    if isinstance(sharding, NamedSharding):
        sharding = fit(sharding, batch, stacked, size)
        if not sharding.is_fully_addressable:
            return _place_part(batch, sharding, size, int(stacked))
    return jax.device_put(batch, sharding)


def fit(
    sharding: NamedSharding, batch: Any, stacked: bool, size: int | None = None
) -> NamedSharding:
    """Return the sharding for leaves `[B, ...]`, or with `stacked` `[k, B, ...]`.

    A batch of a size that does not divide is left whole on every device.

    Raises:
        ValueError: a leaf of the batch has fewer axes than it.
    """
    spec = sharding.spec
    for path, leaf in jax.tree.leaves_with_path(batch):
        if leaf.ndim - stacked < len(spec):
            raise ValueError(
                f"Loader: expected {_name(path)} to have the {len(spec)} axes of sharding "
                f"{spec}, got {list(leaf.shape[stacked:])}; shard the batch's axis only, "
                "jax.P(name)"
            )
    if size is not None and size % _parts(sharding):
        spec = PartitionSpec()
    elif stacked:
        spec = PartitionSpec(None, *spec)
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)


def _place_part(batch: Any, sharding: NamedSharding, size: int | None, axis: int) -> Any:
    if size is None:
        each = functools.partial(jax.make_array_from_process_local_data, sharding)
        return jax.tree.map(each, batch)
    count = size

    def whole(leaf: np.ndarray) -> jax.Array:
        shape = (*leaf.shape[:axis], count, *leaf.shape[axis + 1 :])
        rows = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[axis : axis + 1]))
        here = share(count, None, rows)

        def part(index: Any) -> np.ndarray:
            start, stop, _ = index[axis].indices(count)
            first = int(np.searchsorted(here, start))
            return leaf[(*index[:axis], slice(first, first + stop - start), *index[axis + 1 :])]

        return jax.make_array_from_callback(shape, sharding, part)

    return jax.tree.map(whole, batch)


def of_rows(sharding: Any) -> Any:
    """Return the sharding of the batch's axis alone, as masks have it."""
    if not isinstance(sharding, NamedSharding):
        return sharding
    return NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[:1]))


def _name(path: Any) -> str:
    pair: dict[Any, str] = {0: "inputs", 1: "targets"}
    first = pair.get(getattr(path[0], "idx", None)) if path else None
    return (first or "") + jax.tree_util.keystr(path[1:] if first else path) or "the batch"
