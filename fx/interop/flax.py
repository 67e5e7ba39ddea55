"""Modules of Flax, Linen and NNX, as the pair of functions that the rest of fx takes."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.interpreters import partial_eval

from fx.interop.nnx import NNXModel, wrap_instance, wrap_maker

# How modules of Flax call the mode that they are in, and whether it is True in training.
_MODES = {
    "train": True, "training": True, "is_training": True,
    "deterministic": False, "use_running_average": False,
}  # fmt: skip


def from_flax(module: Any, *example_inputs: Any) -> "LinenModel | NNXModel":
    """Wraps a Flax module so that it trains, checkpoints, exports and serves as models here do.

    What it returns is frozen and hashable and has `init(key) -> (params, state)` and
    `apply(params, state, *inputs, train=False, key=None, **kwargs) -> (outputs, state)`. `params`
    is Linen's collection "params", or what NNX declares as `nnx.Param`; `state` is everything
    else, BatchNorm's statistics say. `train` reaches the module's `__call__` under the name that it
    has there (`train`, `training`, `is_training`, or their opposites `deterministic` and
    `use_running_average`); of an NNX module, `module.train()` or `module.eval()` is called, too.
    All RNG streams derive from `key`.

    Args:
        module: A Linen module; or of NNX, a class or function of `rngs`. An NNX module that is
            made already is taken with the weights it has: `init` returns those for every key.
        *example_inputs: For Linen, what `__call__` takes: arrays, or anything with a shape and
            dtype. Nothing is computed with them. NNX needs none.

    Raises:
        TypeError: `module` is not one of Flax, or a Linen module holds what has no hash.
        ValueError: from `apply`, where something random has no key, or where the state that
            comes back has another structure than the one that went in.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import linen, nnx
        >>> model = from_flax(linen.Dense(2), jnp.ones((1, 3)))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((5, 3)))[0].shape
        (5, 2)
        >>> model = from_flax(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
        >>> sorted(model.init(jax.random.key(0))[0])
        ['bias', 'kernel']

    Source: flax.linen.Module.init_with_output and apply; flax.nnx.split and merge.
    """
    from flax import linen, nnx

    if isinstance(module, linen.Module):
        return _wrap_linen(module, example_inputs)
    if isinstance(module, nnx.Module):
        return wrap_instance(module, mode_arguments)
    if callable(module) and not (isinstance(module, type) and issubclass(module, linen.Module)):
        return wrap_maker(module, mode_arguments)
    got = module.__name__ if isinstance(module, type) else type(module).__name__
    raise TypeError(
        "from_flax: expected a Linen module, an NNX module or a function of rngs that makes one, "
        f"got {got}; a Linen class needs its arguments first: {got}(...)"
    )


def mode_arguments(call: Callable[..., Any], train: bool) -> dict[str, bool]:
    """What `__call__` is told about the mode, under its own names for it."""
    if not isinstance(train, bool):
        raise TypeError(
            f"from_flax: expected train to be a Python bool, got {train!r}; under jax.jit name it: "
            'jax.jit(model.apply, static_argnames="train")'
        )
    known = inspect.signature(call).parameters
    return {name: train == means for name, means in _MODES.items() if name in known}


@dataclass(frozen=True)
class LinenModel:
    """A Linen module as `init` and `apply`; see `from_flax`."""

    module: Any
    examples: tuple[Any, ...]
    structure: Any

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Make params and state; see `fx.nn.Module.init`."""
        mode = mode_arguments(type(self.module).__call__, False)

        def start(*inputs: Any) -> Any:
            return self.module.init({"params": key}, *inputs, **mode)

        if _depends_on_numbers(start, self.examples, self.structure):
            raise ValueError(
                f"{type(self.module).__name__}: a variable of it starts with what depends on the "
                "numbers of an input, of which only the shape is known here; initialise it with "
                "Flax, and pass params and state on"
            )
        inputs = jax.tree.unflatten(self.structure, self.examples)
        variables = dict(self.module.lazy_init({"params": key}, *inputs, **mode))
        return variables.pop("params", {}), variables

    def apply(
        self, params: Any, state: Any, /, *inputs: Any, train: bool = False, key: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, dict]:  # fmt: skip
        """Run the module; see `fx.nn.Module.apply`."""
        from flax.errors import InvalidRngError

        mode = mode_arguments(type(self.module).__call__, train) | kwargs
        # A stream that has no key of its own takes the one of "params", and counts on.
        rngs = {} if key is None else {"params": key}
        try:
            outputs, new = self.module.apply(
                {"params": params, **state}, *inputs, rngs=rngs, mutable=list(state), **mode
            )
        except InvalidRngError as error:
            raise ValueError(
                f"{type(self.module).__name__}: expected a key for its random numbers, got none "
                f"({error}); call apply(..., train=True, key=key)"
            ) from error
        new = {name: new[name] for name in state}
        if jax.tree.structure(new) != jax.tree.structure(dict(state)):
            raise ValueError(
                f"{type(self.module).__name__}: expected the collections {', '.join(state)} to "
                "keep their structure; something sown into them grows with each call: sow into "
                '"intermediates", which no state has'
            )
        return outputs, new


def _depends_on_numbers(start: Callable[..., Any], examples: tuple[Any, ...], tree: Any) -> bool:
    """Whether variables need the numbers of inputs; some versions of Flax would take zeros then."""
    known = [not isinstance(leaf, jax.ShapeDtypeStruct) for leaf in examples]

    def variables(shaped: list[jax.Array]) -> Any:
        left = iter(shaped)
        leaves = [leaf if here else next(left) for leaf, here in zip(examples, known)]
        return start(*jax.tree.unflatten(tree, leaves))

    shaped = [leaf for leaf, here in zip(examples, known) if not here]
    program = jax.make_jaxpr(variables)(shaped).jaxpr
    _, used = partial_eval.dce_jaxpr(program, [True] * len(program.outvars))
    return any(used)


def _wrap_linen(module: Any, example_inputs: tuple[Any, ...]) -> LinenModel:
    leaves, structure = jax.tree.flatten(example_inputs)
    examples = tuple(
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf
        for leaf in leaves
    )
    try:
        hash(module)
    except TypeError as error:
        said = str(error).splitlines()[0]
        raise TypeError(
            f"from_flax: {type(module).__name__} cannot be hashed ({said}); give it tuples in "
            "place of lists and arrays"
        ) from error
    return LinenModel(module, examples, structure)
