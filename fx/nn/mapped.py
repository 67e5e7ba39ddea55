"""A part mapped over an axis: one set of weights, or n of them side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fx.nn import describe
from fx.nn.checks import positive
from fx.nn.lift import Lifted
from fx.nn.module import Module, where
from fx.nn.names import Pattern, matches, several
from fx.nn.parameter import Buffer
from fx.nn.stack import check_block, scope_of_block
from fx.nn.wrap import with_wraps, wrapped

Axes = int | None | tuple[Any, ...]


def vmap(
    part: Module,
    n: int | None = None,
    *,
    in_axes: Axes = 0,
    out_axes: Any = 0,
    shared: Pattern | Sequence[Pattern] = (),
    shared_key: bool = False,
) -> Any:
    """Map a part over an axis of its inputs, or make an ensemble of n parts.

    Args:
        part: a module; or, in `forward` and without n, a part of the running module.
        n: how many copies with weights and state of their own run side by side, [n, ...] in
            memory; `state_dict` lists them as "0.weight", "1.weight", ..., as a ModuleList's.
            None: one set of weights for the whole axis, under the part's own names.
        in_axes: the axis of each positional argument that is mapped; None gives the argument
            whole to each copy. A tuple has one for each argument, as in `jax.vmap`. Keyword
            arguments go to each copy whole.
        out_axes: where the axis stands in the outputs.
        shared: with n, patterns of the params that all copies have together, as in
            `fx.optim.groups`: "embed.*". "*" is all of them.
        shared_key: draw the same random numbers in every copy: one dropout mask for all.

    Returns:
        A `Vmap` with part "block"; without n, a copy of the description to use in its place; in
        `forward`, a function to call once.

    Raises:
        TypeError: `part` is not a module, or n not an integer.
        ValueError: n is less than 1; a pattern in `shared` matches no parameter, or is given
            without n; at a call, a size is not n, or a part without n has state that changes.

    Example:
        Eight models and one batch for all:

        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> model = nn.vmap(nn.Sequential(nn.Linear(4, 8), nn.Dropout()), 8, in_axes=None)
        >>> params, state = model.init(jax.random.key(0))
        >>> y, _ = model.apply(params, state, jnp.ones((2, 4)), train=True, key=jax.random.key(1))
        >>> y.shape
        (8, 2, 8)

    Source: jax.vmap; torch.func.stack_module_state.
    """
    patterns = several(shared)
    if n is None:
        if patterns:
            raise ValueError(
                "vmap: expected n beside shared=, got none; without n all weights are shared"
            )
        return wrapped("vmap", part, Mapped(in_axes, out_axes, shared_key))
    if getattr(part, "_scope", None) is not None:
        raise ValueError(
            f"vmap: {where(part)}: expected n=None in forward, got {n}; n sets of weights are "
            "declared in __init__"
        )
    return Vmap(part, n, in_axes, out_axes, patterns, shared_key)


class Vmap(Module):
    """n copies of a part side by side; `nn.vmap` makes it and says what its arguments are."""

    def __init__(
        self,
        block: Module,
        n: int,
        in_axes: Axes = 0,
        out_axes: Any = 0,
        shared: tuple[Pattern, ...] = (),
        shared_key: bool = False,
    ):
        check_block(self, block)
        positive(self, n=n)
        self.block, self.n, self.shared = block, n, shared
        self.in_axes, self.out_axes, self.shared_key = in_axes, out_axes, shared_key
        leaves = [(leaf.name, leaf.declaration) for leaf in describe.leaves(describe.ready(block))]
        for pattern in shared:
            if not any(_is_shared((pattern,), *leaf) for leaf in leaves):
                names = ", ".join(name for name, d in leaves if not isinstance(d, Buffer))
                raise ValueError(
                    f"Vmap: shared={pattern!r} matches no parameter; the parameters are {names}"
                )

    def __len__(self) -> int:
        return self.n

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Args: inputs: with an axis of size n where `in_axes` says so."""
        part = Lifted(self.block, scope_of_block(self).description, n=self.n)
        depth, step = len(part.path), len(part.path) - 1
        axes = _per_input(self, self.in_axes, inputs)
        _check_sizes(self, axes, inputs, self.n)
        own = {path: 0 if self._is_own(path[depth:]) else None for path in part.arrays}
        key = part.outer.key

        def copy(arrays: Any, perturb: Any, number: Any, *inputs: Any) -> tuple:
            copies = () if self.shared_key else ((step, self.n, number),)
            return part(arrays, perturb, inputs, kwargs, key=key, copies=copies)

        mapped = jax.vmap(copy, (own, 0, 0, *axes), (self.out_axes, 0, 0), axis_size=self.n)
        numbers = jnp.arange(self.n)
        outputs, *rest = mapped(part.arrays, part.perturb, numbers, *inputs)
        part.put_back(*rest)
        return outputs

    def _is_own(self, path: tuple[str, ...]) -> bool:
        block = scope_of_block(self).description
        return self._copies_of(".".join(path), describe.find(block, path))

    def _copies_of(self, name: str, declaration: Any) -> bool:
        """Whether each copy has its own array of that name."""
        return not _is_shared(self.shared, name, declaration)

    def extra_repr(self) -> str:
        """What `print` shows beside the part."""
        return f"n={self.n}, in_axes={self.in_axes}, out_axes={self.out_axes}"


@dataclass(frozen=True)
class Mapped:
    """Around a `forward`: `jax.vmap` with one set of weights."""

    in_axes: Axes
    out_axes: Any
    shared_key: bool

    def __call__(self, view: Any, wraps: tuple, inputs: tuple, kwargs: dict) -> Any:
        """Run a view, with what else is around its `forward`."""
        part = Lifted(view, with_wraps(view._scope.description, wraps))
        axes = _per_input(view, self.in_axes, inputs)
        size = _check_sizes(view, axes, inputs, None)

        def run(perturb: Any, number: Any, *inputs: Any) -> tuple:
            key = part.outer.key
            if key is not None and not self.shared_key:
                key = jax.random.fold_in(key, number)
            outputs, written, seen = part(part.arrays, perturb, inputs, kwargs, key=key)
            if written:
                names = ", ".join(".".join(part.outer.name + path) for path in written)
                raise ValueError(
                    f"{where(view)}: expected state that stays as it is under nn.vmap, but "
                    f"{names} would be another for each copy; give n for state (and weights) of "
                    "their own, or nn.eval_mode"
                )
            return outputs, seen

        mapped = jax.vmap(run, (0, 0, *axes), (self.out_axes, 0), axis_size=size)
        outputs, seen = mapped(part.perturb, jnp.arange(size), *inputs)
        part.put_back({}, seen)
        return outputs


def _is_shared(patterns: tuple[Pattern, ...], name: str, declaration: Any) -> bool:
    array = jax.ShapeDtypeStruct(declaration.shape, declaration.dtype)
    kept = isinstance(declaration, Buffer)
    return not kept and any(matches(pattern, name, array) for pattern in patterns)


def _per_input(module: Any, axes: Axes, inputs: tuple) -> tuple[Any, ...]:
    if not isinstance(axes, tuple):
        return (axes,) * len(inputs)
    if len(axes) != len(inputs):
        raise ValueError(
            f"{where(module)}: expected {len(axes)} positional arguments, one for each of "
            f"in_axes={axes}, got {len(inputs)}"
        )
    return axes


def _check_sizes(module: Any, axes: tuple[Any, ...], inputs: tuple, n: int | None) -> int:
    """The size of the mapped axes, which all have to agree."""
    for position, (axis, tree) in enumerate(zip(axes, inputs)):
        if not isinstance(axis, int):
            continue
        for leaf in jax.tree.leaves(tree):
            shape = jnp.shape(leaf)
            fits = -len(shape) <= axis < len(shape)
            n = shape[axis] if n is None and fits else n
            if not fits or shape[axis] != n:
                raise ValueError(
                    f"{where(module)}: expected argument {position} with {n} along axis {axis}, "
                    f"which is mapped, got {list(shape)}; in_axes=None gives it whole to each copy"
                )
    if n is None:
        raise ValueError(
            f"{where(module)}: expected an argument that is mapped, got in_axes of None alone; "
            "say how many: nn.vmap(part, n)"
        )
    return n
