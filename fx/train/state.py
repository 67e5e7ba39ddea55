"""The state of a training run as one pytree."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from fx.nn.keys import check_key, named_key
from fx.train.sharding import Sharding


@struct.dataclass
class TrainState:
    """Everything that a training step reads and replaces.

    Attributes:
        step: Steps taken, int32 [].
        params: The model's parameters: what is differentiated.
        state: The model's state: running statistics and other buffers.
        opt_state: The optimizer's state.
        key: PRNG key of the run, []. It stays; a step uses `fold_in(key, step)`, split in two, and
            what a step of one's own draws has its keys from `key_for`.
    """

    step: jax.Array
    params: Any
    state: Any
    opt_state: Any
    key: jax.Array

    def key_for(self, name: str) -> jax.Array:
        """A key for what a step of one's own draws: of the run, of this name and of this step.

        It is none of those that `make_step`'s step gives to transform and model, which
        `jax.random.split(jax.random.fold_in(ts.key, ts.step))` would be. Within one step a name
        gives one key, however often it is asked: in a loop, split it or fold the number in.

        Args:
            name: What is drawn, "noise" say.

        Returns:
            A PRNG key, [].

        Raises:
            TypeError: A name that is no text, or empty.

        Example:
            >>> import fx
            >>> ts = create(fx.nn.Linear(2, 1), fx.optim.sgd(0.1), jax.random.key(0))
            >>> noise = jax.random.normal(ts.key_for("noise"), (3,))
            >>> bool((noise == jax.random.normal(ts.key_for("shares"), (3,))).any())
            False
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f'key_for: expected a name, "noise" say, got {name!r}')
        return jax.random.fold_in(named_key(self.key, (name,)), self.step)


def create(
    model: Any,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    sharding: Sharding | None = None,
) -> TrainState:
    """Initialise a model and its optimizer.

    Args:
        model: Any object with `init(key) -> (params, state)`.
        optimizer: An optax transformation, those of `fx.optim` included.
        key: PRNG key; one half makes the weights, the other is kept for the steps.
        sharding: Over which devices the state is spread; see `data_parallel` and `fsdp`. Each
            device makes its own part, so that no device ever holds more than that.

    Returns:
        The state before the first step. To start from given weights, use
        `ts.replace(params=params, state=state)` with weights of the same shapes.

    Raises:
        TypeError: `key` is not a PRNG key; model or optimizer is something else, or the optimizer
            is `optax.lookahead`; take `fx.optim.lookahead`.

    Example:
        >>> import jax
        >>> import fx
        >>> class Scale:
        ...     def init(self, key):
        ...         return {"weight": jax.random.normal(key, (3,))}, {}
        >>> ts = create(Scale(), fx.optim.sgd(0.1), jax.random.key(0))
        >>> int(ts.step), ts.params["weight"].shape
        (0, (3,))
    """
    check_model("train.create", model, "init", "key")
    check_transformation("train.create", optimizer)
    check_key("train.create", key)

    def make(key: jax.Array) -> TrainState:
        init_key, run_key = jax.random.split(key)
        params, state = model.init(init_key)
        opt_state = optimizer.init(params)
        _check_one_tree(opt_state)
        return TrainState(jnp.zeros((), jnp.int32), params, state, opt_state, run_key)

    return _unshared(make(key)) if sharding is None else sharding.make(make, key)


def check_model(where: str, model: Any, method: str, arguments: str) -> None:
    """Raise unless a model has a method, `init` or `apply`, in fx's sense."""
    libraries = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    able = not isinstance(model, type) and callable(getattr(model, method, None))
    if able and not {"flax", "torch"} & libraries:
        return
    kind = type(model)
    came = repr(model) if isinstance(model, type) else f"{kind.__module__}.{kind.__qualname__}"
    hint = "make an instance of it" if isinstance(model, type) else "see docs/models.md"
    if "flax" in libraries:
        hint = "wrap it: fx.from_flax(module, *example_inputs)"
    if "torch" in libraries:
        hint = "fx.port writes it as a model of fx (docs/porting.md)"
    raise TypeError(f"{where}: expected a model with {method}({arguments}), got {came}; {hint}")


def check_transformation(where: str, optimizer: Any) -> None:
    """Raise unless an optimizer is an optax transformation; a dict has an `update`, too."""
    able = all(callable(getattr(optimizer, name, None)) for name in ("init", "update"))
    if able and not isinstance(optimizer, type):
        return
    came, hint = repr(optimizer), "make one with fx.optim.adam(1e-3)"
    if isinstance(optimizer, dict | list | tuple):
        came = f"a {type(optimizer).__name__} of {len(optimizer)}"
        hint = (
            "fx.optim.groups makes one of several, and networks that take turns have an optimizer "
            "and a training state each (docs/recipes.md)"
        )
    raise TypeError(f"{where}: expected an optax transformation, got {came}; {hint}")


def _check_one_tree(opt_state: Any) -> None:
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, optax.LookaheadState))
    if any(isinstance(leaf, optax.LookaheadState) for leaf in leaves):
        raise TypeError(
            "train.create: optax.lookahead expected a pair of parameter trees, got the model's "
            "one; use fx.optim.lookahead, which keeps the slow one in its own state"
        )


def _unshared(tree: Any) -> Any:
    # Some optimizers start with the parameters themselves as their state, and an array that
    # appears twice cannot be donated.
    # And what is weakly typed, or a Python number, would not be after the first step, which would
    # make the second compile again.
    seen = set()

    def own(leaf: Any) -> Any:
        if getattr(leaf, "weak_type", not hasattr(leaf, "dtype")):
            leaf = jax.lax.convert_element_type(leaf, jnp.result_type(leaf))
        if id(leaf) in seen:
            return jnp.copy(leaf)
        seen.add(id(leaf))
        return leaf

    return jax.tree.map(own, tree)
