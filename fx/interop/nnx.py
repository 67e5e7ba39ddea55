"""An NNX module split into a graph, params, state and random streams, and put together again."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp

Path = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """The leaves of one kind: their paths, and the tree of NNX that holds them."""

    paths: tuple[Path, ...]
    leaves: tuple[jax.ShapeDtypeStruct, ...]
    structure: Any

    def nest(self, tree: Any) -> dict:
        """Nested dicts with the leaves of NNX's own tree."""
        nested: dict = {}
        for path, leaf in zip(self.paths, jax.tree.leaves(tree), strict=True):
            at = nested
            for name in path[:-1]:
                at = at.setdefault(name, {})
            at[path[-1]] = leaf
        return nested

    def restore(self, nested: Any, word: str, kind: type) -> Any:
        """NNX's own tree with the leaves of nested dicts."""
        leaves = []
        for path in self.paths:
            at = nested
            for name in path:
                if not isinstance(at, dict) or name not in at:
                    raise ValueError(
                        f"{kind.__name__}: missing in {word}: {'.'.join(path)}; make params and "
                        "state with this model's init"
                    )
                at = at[name]
            leaves.append(at)
        return jax.tree.unflatten(self.structure, leaves)


@dataclass(frozen=True)
class NNXModel:
    """An NNX module as `init` and `apply`; see `from_flax`."""

    kind: type
    graphs: tuple[Any, Any]  # of evaluation and of training
    params: Part
    state: Part
    streams: Part
    make: Callable[[jax.Array], Any]
    mode_arguments: Callable[..., dict[str, bool]] = field(repr=False)

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Make params and state; see `fx.nn.Module.init`."""
        from flax import nnx

        _, params, _, state = nnx.split(self.make(key), nnx.Param, nnx.RngState, ...)
        return self.params.nest(params), self.state.nest(state)

    def apply(
        self, params: Any, state: Any, /, *inputs: Any, train: bool = False, key: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, dict]:  # fmt: skip
        """Run the module; see `fx.nn.Module.apply`."""
        from flax import nnx

        mode = self.mode_arguments(self.kind.__call__, train) | kwargs
        streams = self._streams(key)
        module = nnx.merge(
            self.graphs[train],
            self.params.restore(params, "params", self.kind),
            jax.tree.unflatten(self.streams.structure, streams),
            self.state.restore(state, "state", self.kind),
        )
        outputs = module(*inputs, **mode)
        nnx.pop(module, nnx.Intermediate)  # what was sown is no state
        _, _, drawn, new = nnx.split(module, nnx.Param, nnx.RngState, ...)
        after = jax.tree.leaves(drawn)
        if key is None and any(a is not b for a, b in zip(after, streams, strict=True)):
            raise ValueError(
                f"{self.kind.__name__}: expected a key for its random numbers, got none; "
                "call apply(..., train=True, key=key)"
            )
        if jax.tree.structure(new) != self.state.structure:
            raise ValueError(
                f"{self.kind.__name__}: expected its variables to stay the ones it was made with; "
                "make them in __init__"
            )
        return outputs, self.state.nest(new)

    def _streams(self, key: Any) -> list[jax.Array]:
        """Counters at zero, and for each stream a key of its own."""
        key = jax.random.key(0) if key is None else key
        key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else _typed(key)
        leaves = []
        for path, leaf in zip(self.streams.paths, self.streams.leaves):
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                own = jax.random.fold_in(key, crc32(".".join(path).encode()))
                leaves.append(jax.random.split(own, leaf.shape) if leaf.shape else own)
            else:
                leaves.append(jnp.zeros(leaf.shape, leaf.dtype))
        return leaves


class _Weights:
    """Those of a module that was made before; they compare by identity."""

    def __init__(self, module: Any):
        from flax import nnx

        self.graph, self.state = nnx.split(module)

    def __call__(self, key: jax.Array) -> Any:
        from flax import nnx

        return nnx.merge(
            self.graph, jax.tree.map(jnp.copy, self.state)
        )  # steps donate what they get


@dataclass(frozen=True)
class _Maker:
    """Calls a class or function with random streams."""

    function: Callable[..., Any]
    by_name: bool

    def __call__(self, key: jax.Array) -> Any:
        from flax import nnx

        rngs = nnx.Rngs(key)
        return self.function(rngs=rngs) if self.by_name else self.function(rngs)


def wrap_instance(module: Any, mode_arguments: Callable[..., dict[str, bool]]) -> NNXModel:
    """The model of a module with weights."""
    return _wrap(_Weights(module), mode_arguments)


def wrap_maker(
    function: Callable[..., Any], mode_arguments: Callable[..., dict[str, bool]]
) -> NNXModel:
    """The model of a class or function of `rngs`.

    Raises:
        TypeError: it needs other arguments than `rngs`, or does not make an NNX module.
    """
    # NNX hides the constructor of a class behind that of all modules.
    written = function.__init__ if isinstance(function, type) else function
    known = dict(inspect.signature(written).parameters)
    if isinstance(function, type):
        known.pop(next(iter(known), ""), None)  # self, whatever it is called
    needed = [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty and parameter.kind.name[:3] != "VAR"
    ]
    by_name = "rngs" in known
    if set(needed) - {"rngs"} and (by_name or len(needed) != 1):
        raise TypeError(
            f"from_flax: expected a function of rngs alone, got one that needs {', '.join(needed)};"
            " write lambda rngs: Net(..., rngs=rngs)"
        )
    return _wrap(_Maker(function, by_name), mode_arguments)


def _wrap(
    make: Callable[[jax.Array], Any], mode_arguments: Callable[..., dict[str, bool]]
) -> NNXModel:
    from flax import nnx

    def made() -> Any:
        module = make(jax.random.key(0))
        if isinstance(module, nnx.Module):
            return module
        got = type(module).__name__
        raise TypeError(f"from_flax: expected a function that makes an nnx.Module, got {got}")

    abstract = nnx.eval_shape(made)
    abstract.train()
    training = nnx.graphdef(abstract)
    abstract.eval()
    graph, *parts = nnx.split(abstract, nnx.Param, nnx.RngState, ...)
    params, streams, state = map(_part, parts)
    graphs = (graph, training)
    return NNXModel(type(abstract), graphs, params, state, streams, make, mode_arguments)


def _part(tree: Any) -> Part:
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    paths = tuple(tuple(_name(step) for step in path if _name(step)) for path, _ in found)
    leaves = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for _, leaf in found)
    return Part(paths, leaves, structure)


def _name(step: Any) -> str:
    """A step of a path as a key of a dict; the step from a variable to its value is none."""
    return str(getattr(step, "key", getattr(step, "idx", "")))


def _typed(key: Any) -> jax.Array:
    return jax.random.wrap_key_data(key)
