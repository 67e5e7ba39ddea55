"""Where the arrays of a run live: the same program on one device or on many."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

Rule = Callable[[str, tuple[int, ...]], PartitionSpec]
AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Sharding:
    """How a run is laid out over devices: `create`, `make_step` and `Loader` take one.

    It changes where arrays lie and nothing else. The step stays one program over whole arrays, the
    batch included: BatchNorm sees the global batch, dropout draws the same masks, and losses are
    means over all examples, on any number of devices.

    `data_parallel` and `fsdp` make the usual ones. For others, give a mesh and a rule:

    Attributes:
        mesh: The devices. Axes of another type than `Auto`, as `jax.make_mesh` makes them, become
            `Auto`: XLA finds the layouts between what the rule and the batch say.
        rule: `(name, shape) -> PartitionSpec` for one parameter, named as "fc1/weight". What the
            optimizer keeps for each parameter is laid out as the parameter is.
        axes: The mesh's axes over which the batch is split.

    Raises:
        ValueError: `axes` names an axis that the mesh does not have, or none.

    Example:
        >>> import jax
        >>> from jax.sharding import PartitionSpec
        >>> mesh = jax.make_mesh((1, 1), ("data", "model"))
        >>> def columns(name, shape):
        ...     return PartitionSpec(None, "model") if len(shape) == 2 else PartitionSpec()
        >>> sharding = Sharding(mesh, columns, axes=("data",))
        >>> sharding.batch.spec
        P('data',)
    """

    mesh: Mesh
    rule: Rule
    axes: tuple[str, ...] = (AXIS,)

    def __post_init__(self) -> None:
        unknown = [name for name in self.axes if name not in self.mesh.axis_names]
        if unknown or not self.axes:
            raise ValueError(
                f"Sharding: expected axes to be among the mesh's {self.mesh.axis_names}, got "
                f"{self.axes}"
            )
        automatic = (AxisType.Auto,) * len(self.mesh.axis_names)
        if self.mesh.axis_types != automatic:  # where every operation wants to be told
            mesh = Mesh(self.mesh.devices, self.mesh.axis_names, axis_types=automatic)
            object.__setattr__(self, "mesh", mesh)

    @property
    def parts(self) -> int:
        """Into how many parts a batch is split."""
        return math.prod(self.mesh.shape[name] for name in self.axes)

    @property
    def batch(self) -> NamedSharding:
        """The layout of a batch `[B, ...]`: rows split over the devices; for `Loader`."""
        return self._named(self._rows)

    @property
    def replicated(self) -> NamedSharding:
        """The layout of what every device has in full."""
        return self._named(PartitionSpec())

    def of(self, ts: Any) -> Any:
        """Lay out a training state.

        Args:
            ts: A `TrainState` of arrays, or of `jax.ShapeDtypeStruct` from `jax.eval_shape`.

        Returns:
            A `TrainState` with a `NamedSharding` in place of each array. Parameters follow the
            rule. So does a leaf of the optimizer's state whose path ends in a parameter's, and that
            has its shape: moments, averages, copies. Everything else is replicated.

        Raises:
            ValueError: The rule splits an axis that its devices do not divide, or gives a
                parameter more axes than it has.
        """
        specs = {
            path: self._spec(path, leaf.shape)
            for path, leaf in jax.tree_util.tree_leaves_with_path(ts.params)
        }
        shapes = {path: leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(ts.params)}

        def follow(path: tuple, leaf: Any) -> NamedSharding:
            for start in range(len(path) + 1):  # the longest ending first
                if shapes.get(path[start:]) == leaf.shape:
                    return self._named(specs[path[start:]])
            return self.replicated

        return dataclasses.replace(
            jax.tree.map(lambda _: self.replicated, ts),
            params=jax.tree_util.tree_map_with_path(
                lambda path, _: self._named(specs[path]), ts.params
            ),
            opt_state=jax.tree_util.tree_map_with_path(follow, ts.opt_state),
        )

    def make(self, function: Callable[[jax.Array], Any], key: jax.Array) -> Any:
        """Compute a training state from a key, each device its part: it is never whole on one."""
        key = _put(key, self.replicated)
        return jax.jit(function, out_shardings=self.of(jax.eval_shape(function, key)))(key)

    def place(self, ts: Any) -> Any:
        """Move a training state to its devices; what is there already is not copied."""
        return jax.tree.map(_put, ts, self.of(ts))

    def keep(self, ts: Any, metrics: Any) -> tuple[Any, Any]:
        """Within a compiled step: have what it returns where it belongs.

        The next call gets what it was compiled for then, and every process can read the metrics.
        """
        constrain = jax.lax.with_sharding_constraint
        return constrain(ts, self.of(ts)), constrain(metrics, self.replicated)

    def split(self, batch: Any, *, stacked: bool = False) -> Any:
        """Within a compiled function: split a batch over the devices.

        Args:
            batch: A tree of arrays `[B, ...]`.
            stacked: The batch is of several steps, `[k, B, ...]`.

        Returns:
            The batch. Rows that do not divide by the number of parts are left whole on every
            device: an epoch's shorter last batch takes more time then, and is right all the same.
        """

        def constrain(leaf: jax.Array) -> jax.Array:
            axis = 1 if stacked else 0
            rows = leaf.shape[axis] if leaf.ndim > axis else 1
            spec = PartitionSpec(*(None,) * axis, *self._rows)
            fits = rows % self.parts == 0
            layout = self._named(spec) if fits else self.replicated
            return jax.lax.with_sharding_constraint(leaf, layout)

        return jax.tree.map(constrain, batch)

    @property
    def _rows(self) -> PartitionSpec:
        return PartitionSpec(self.axes)

    def _named(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(self.mesh, spec)

    def _spec(self, path: tuple, shape: tuple[int, ...]) -> PartitionSpec:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = self.rule(name, shape)
        if len(spec) > len(shape):
            raise ValueError(
                f"Sharding: expected the rule to give {name!r} {list(shape)} at most "
                f"{len(shape)} axes, got {spec}"
            )
        for size, axes in zip(shape, spec):
            names = () if axes is None else axes if isinstance(axes, tuple) else (axes,)
            parts = math.prod(self.mesh.shape[axis] for axis in names)
            if size % parts:
                raise ValueError(
                    f"Sharding: expected the rule to split {name!r} {list(shape)} evenly, but "
                    f"{spec} splits {size} into {parts}; leave that axis None"
                )
        return spec


def data_parallel(devices: Sequence[Any] | None = None) -> Sharding:
    """Split each batch over devices; every device has all of the weights.

    Args:
        devices: Which ones; None takes all, those of other processes included.

    Returns:
        A `Sharding` for `create`, `make_step` and `Loader`.

    Example:
        >>> import jax
        >>> sharding = data_parallel(jax.devices()[:1])
        >>> sharding.mesh.shape["data"], sharding.batch.spec
        (1, P('data',))

    Source: torch's DistributedDataParallel. Unlike there, BatchNorm's statistics are those of the
    global batch, as with torch's SyncBatchNorm, and the seed alone decides on the masks of dropout,
    whatever the number of devices.
    """
    return Sharding(_line(devices), _whole)


def fsdp(devices: Sequence[Any] | None = None, *, min_size: int = 1 << 14) -> Sharding:
    """Split each batch, and the weights and the optimizer's state too, over devices.

    Each parameter is split along its largest axis that the number of devices divides. Where the
    model needs it, XLA collects it, or the activations where these are smaller. For models whose
    training state does not fit on one device; where it does, `data_parallel` communicates less.

    Args:
        devices: Which ones; None takes all, those of other processes included.
        min_size: Parameters with fewer elements stay whole on every device: splitting them costs
            more time than it saves memory.

    Returns:
        A `Sharding` for `create`, `make_step` and `Loader`.

    Raises:
        ValueError: min_size below 1.

    Example:
        >>> import jax
        >>> fsdp(jax.devices()[:1], min_size=1).rule("fc1/weight", (8, 32))
        P(None, 'data')

    Source: torch's FullyShardedDataParallel (fully_shard). Unlike there, parameters are split one
    by one, along an axis of theirs, and checkpoints hold whole arrays by name.
    """
    if min_size < 1:
        raise ValueError(f"fsdp: expected min_size of 1 or more, got {min_size}")
    mesh = _line(devices)
    return Sharding(mesh, _Largest(mesh.shape[AXIS], min_size))


@dataclasses.dataclass(frozen=True)
class _Largest:
    """Split the largest axis that divides; a class, for two equal rules should compare equal."""

    parts: int
    min_size: int

    def __call__(self, name: str, shape: tuple[int, ...]) -> PartitionSpec:
        axes = [axis for axis, size in enumerate(shape) if size and size % self.parts == 0]
        if not axes or math.prod(shape) < self.min_size:
            return PartitionSpec()
        best = max(axes, key=lambda axis: shape[axis])
        return PartitionSpec(*(None,) * best, AXIS)


def _whole(name: str, shape: tuple[int, ...]) -> PartitionSpec:
    return PartitionSpec()


def _line(devices: Sequence[Any] | None) -> Mesh:
    found = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(found),), (AXIS,), axis_types=(AxisType.Auto,), devices=found)


def _put(leaf: Any, layout: NamedSharding) -> jax.Array:
    # jax moves no typed keys to devices of other processes.
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(leaf), layout)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jax.device_put(leaf, layout)
