"""A part run in another way, under the same name and with the same weights.

`remat`, `vmap` (of one set of weights), `eval_mode` and `method` return a copy of the description,
of the same class, that says what is run and how. Names, params and state stay as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from fx.nn import describe
from fx.nn.lift import Lifted
from fx.nn.module import Module


def remat(part: Module, policy: Callable[..., bool] | None = None) -> Any:
    """Compute a part again in the backward pass, instead of keeping what it computed.

    Values, gradients, new state and dropout masks stay as they are; memory falls to the part's
    inputs (and what the policy keeps), and time rises by one more forward pass of the part.

    Args:
        part: a module; or, in `forward`, a part of the running module.
        policy: what to keep, one of ``jax.checkpoint_policies``; None keeps nothing.

    Returns:
        A copy of the description to use in its place, with the same names and weights; in
        `forward`, a function to call once.

    Raises:
        TypeError: `part` is not a module, or `policy` not a function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> model = nn.Sequential(nn.remat(nn.Sequential(nn.Linear(4, 8), nn.Tanh())))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 4)))[0].shape
        (2, 8)

    Source: torch.utils.checkpoint.checkpoint, which needs to be told to keep the random state.
    """
    if policy is not None and not callable(policy):
        raise TypeError(
            f"remat: expected a policy of jax.checkpoint_policies or None, got {policy!r}"
        )
    return wrapped("remat", part, Remat(policy))


def eval_mode(part: Module) -> Any:
    """Run a part as in evaluation, whatever `train` is: torch's ``part.eval()``.

    A BatchNorm in it uses its running statistics and leaves them as they are; dropout does
    nothing. So it is for each of its parts and methods that is called by itself, too. Its weights
    are trained unless the optimizer leaves them out, `optim.freeze`.

    Args:
        part: a module; or, in `forward`, a part of the running module.

    Returns:
        A copy of the description to use in its place, with the same names and weights; in
        `forward`, a function to call once.

    Raises:
        TypeError: `part` is not a module.

    Example:
        Every BatchNorm of a model:

        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        >>> frozen = nn.transform(model, lambda m: nn.eval_mode(m) if isinstance(m, norms) else m)
        >>> params, state = frozen.init(jax.random.key(0))
        >>> _, new = frozen.apply(params, state, jnp.ones((4, 2)), train=True)
        >>> int(new["1"]["num_batches_tracked"])
        0
    """
    return wrapped("eval_mode", part, EvalMode())


def method(part: Module, name: str) -> Any:
    """Run a method of a part in place of its `forward`, ``decode`` of an autoencoder say.

    What comes back is applied, evaluated, exported and compiled as any model is, with the params
    and state of the whole. In `forward` a method is called as it stands, ``self.part.decode(z)``.

    Args:
        part: a module. `remat` and `eval_mode` around it are around the method too.
        name: of the method.

    Returns:
        A copy of the description, with the same names and weights.

    Raises:
        TypeError: `part` is not a module, or is one inside of `forward`.
        AttributeError: it has no method of that name.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> class Auto(nn.Module):
        ...     def __init__(self):
        ...         self.encoder, self.decoder = nn.Linear(4, 2), nn.Linear(2, 4)
        ...     def decode(self, z):
        ...         return self.decoder(z)
        ...     def forward(self, x):
        ...         return self.decode(self.encoder(x))
        >>> params, state = Auto().init(jax.random.key(0))
        >>> nn.method(Auto(), "decode").apply(params, state, jnp.ones((3, 2)))[0].shape
        (3, 4)

    Source: torch calls `model.decode(z)`; Flax has `apply(..., method=)`.
    """
    if not describe.is_module(part) or getattr(part, "_scope", None) is not None:
        raise TypeError(
            f"method: expected a module outside of forward, got {part!r}; in forward call the "
            "method itself"
        )
    if not callable(getattr(type(part), name, None)):
        raise AttributeError(f"method: {type(part).__name__} has no method {name!r}")
    return with_wraps(describe.ready(part), (Method(name), *vars(part).get(describe.WRAPS, ())))


def wrapped(name: str, part: Any, wrap: Callable[..., Any]) -> Any:
    """The description with one thing more around its `forward`, or a view made callable so."""
    if not describe.is_module(part):
        raise TypeError(
            f"{name}: expected a module, got {part!r}"
            + ("; write it with parentheses" if isinstance(part, type) else "")
        )
    wraps = vars(part).get(describe.WRAPS, ())
    if getattr(part, "_scope", None) is not None:
        return partial(_call, wrap, part, wraps)
    return with_wraps(describe.ready(part), (*wraps, wrap))


def with_wraps(description: Any, wraps: tuple) -> Any:
    """A copy of a description with these around its `forward`, the outermost last."""
    attributes = {name: v for name, v in vars(description).items() if name != describe.WRAPS}
    return describe.rebuild(
        type(description), {**attributes, describe.WRAPS: wraps} if wraps else attributes
    )


def _call(wrap: Any, view: Any, wraps: tuple, /, *inputs: Any, **kwargs: Any) -> Any:
    return wrap(view, wraps, inputs, kwargs)


@dataclass(frozen=True)
class Remat:
    """Around a `forward`: `jax.checkpoint`."""

    policy: Callable[..., bool] | None

    def __call__(self, view: Any, wraps: tuple, inputs: tuple, kwargs: dict) -> Any:
        """Run a view, with what else is around its `forward`."""
        part = Lifted(view, with_wraps(view._scope.description, wraps))
        key = part.outer.key
        leaves, structure = jax.tree.flatten((inputs, kwargs))
        traced = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, _ARRAYS)}

        def run(arrays: Any, perturb: Any, traced: dict[int, Any]) -> Any:
            given = [traced.get(i, leaf) for i, leaf in enumerate(leaves)]
            inputs, kwargs = jax.tree.unflatten(structure, given)
            return part(arrays, perturb, inputs, kwargs, key=key)

        # With jit disabled, for debugging, `print` in the part is to show numbers.
        disabled = jax.config.jax_disable_jit  # type: ignore[attr-defined]
        function = run if disabled else jax.checkpoint(run, policy=self.policy)  # type: ignore
        outputs, written, seen = function(part.arrays, part.perturb, traced)
        part.put_back(written, seen)
        return outputs


_ARRAYS = (jax.Array, np.ndarray)  # other leaves (a flag, an axis) are known to Python inside


@dataclass(frozen=True)
class EvalMode:
    """Around a `forward`: ``train=False``."""

    evaluates = True  # by which `bind` knows it, for parts that are called one by one

    def __call__(self, view: Any, wraps: tuple, inputs: tuple, kwargs: dict) -> Any:
        """Run a view, with what else is around its `forward`."""
        part = Lifted(view, with_wraps(view._scope.description, wraps), train=False, carried=True)
        key = part.outer.key
        outputs, written, seen = part(part.arrays, part.perturb, inputs, kwargs, key=key)
        part.put_back(written, seen)
        return outputs


@dataclass(frozen=True)
class Method:
    """In place of a `forward`: another method, so it is always the innermost."""

    name: str

    def __call__(self, view: Any, wraps: tuple, inputs: tuple, kwargs: dict) -> Any:
        """Run the method of a view."""
        return getattr(view, self.name)(*inputs, **kwargs)
