"""Classes of other libraries in fx: their text goes into a ported file that needs them.

Nothing here is imported where it is ported: a file that was written stands by itself.
"""

from typing import Any

import einops
import jax

from fx import nn


class Parts(nn.Module):
    """Parts and weights by name, as a bare `nn.Module()` has them."""

    def __init__(self, **held: Any):
        for name, value in held.items():
            setattr(self, name, value)


class Namespace:
    """`argparse.Namespace`, with a hash, so that a description can hold it."""

    def __init__(self, **values: Any):
        vars(self).update(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Namespace) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(repr(sorted(vars(self).items())))


class Rearrange(nn.Module):
    """`einops.rearrange` as a layer."""

    def __init__(self, pattern: str, **axes_lengths: int):
        self.pattern, self.axes_lengths = pattern, axes_lengths

    def forward(self, x: jax.Array) -> jax.Array:
        """The array, its axes as the pattern says."""
        return einops.rearrange(x, self.pattern, **self.axes_lengths)


class Reduce(nn.Module):
    """`einops.reduce` as a layer."""

    def __init__(self, pattern: str, reduction: str, **axes_lengths: int):
        self.pattern, self.reduction, self.axes_lengths = pattern, reduction, axes_lengths

    def forward(self, x: jax.Array) -> jax.Array:
        """The array, reduced as the pattern says."""
        return einops.reduce(x, self.pattern, self.reduction, **self.axes_lengths)


class Function:
    """`torch.autograd.Function`: `apply` computes `forward`, and its gradient is `backward`'s.

    The gradient runs `forward` again for what it keeps on `ctx`, which XLA makes one with the
    first. It is a `jax.custom_vjp`, so there is no forward mode.
    """

    forward: Any
    backward: Any
    saved_tensors: tuple = ()
    needs_input_grad: tuple = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep arrays for `backward`."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Nothing to do: what is no float has no gradient."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Compute `forward`; arrays are differentiated, everything else is fixed."""
        places = [n for n, arg in enumerate(args) if isinstance(arg, jax.Array)]

        def forward(ctx: "Function", arrays: tuple) -> Any:
            given = dict(zip(places, arrays))
            ctx.needs_input_grad = tuple(n in given for n in range(len(args)))
            return cls.forward(ctx, *(given.get(n, arg) for n, arg in enumerate(args)))

        @jax.custom_vjp
        def run(*arrays: Any) -> Any:
            return forward(cls(), arrays)

        def backward(arrays: tuple, grads: Any) -> tuple:
            ctx = cls()
            several = isinstance(forward(ctx, arrays), tuple)
            found = cls.backward(ctx, *(grads if several else (grads,)))
            found = found if isinstance(found, tuple) else (found,)
            return tuple(found[n] for n in places)

        run.defvjp(lambda *arrays: (run(*arrays), arrays), backward)
        return run(*(args[n] for n in places))
