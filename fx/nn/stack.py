"""Many equal layers as one program: a scan over weights that are stacked in memory."""

from typing import Any

import jax
import jax.numpy as jnp

from fx.nn import describe
from fx.nn.checks import positive
from fx.nn.lift import Lifted
from fx.nn.module import Module, where


class Stack(Module):
    """Runs n layers of one kind in turn, each with its own weights, compiled once for all.

    The same as ``nn.Sequential(*[block] * n)`` with n blocks of their own: the same initial
    weights, dropout masks and new state. `params` and `state` hold one array for all layers,
    ``params["block"][...]`` of shape [n, ...]; `state_dict` lists them as "0.weight",
    "1.weight", ..., so that weights of torch's Sequential and ModuleList load. The time to compile
    does not grow with n. Gradients keep every layer's values; ``nn.Stack(nn.remat(block), n)``
    keeps only what goes from layer to layer.

    Args:
        block: one layer; what it returns has the shape and dtype of its first argument.
        n: how many.
        unroll: how many layers the compiled loop runs at a time; n makes no loop. On CPUs
            convolutions in loops are slow.

    Raises:
        TypeError: `block` is not a module, n or unroll not an integer.
        ValueError: n or unroll is less than 1; at a call, a layer's output is not like its input.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> from fx import nn
        >>> model = nn.Stack(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), 12)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 4)))[0].shape
        (2, 4)
        >>> params["block"]["0"]["weight"].shape
        (12, 4, 4)
        >>> list(fx.state_dict(model, params))[:3]
        ['0.0.weight', '0.0.bias', '1.0.weight']

    Source: there is none in torch. In a traced `forward` the layers have no Python numbers:
    what differs between them is their arrays.
    """

    def __init__(self, block: Module, n: int, *, unroll: int = 1):
        check_block(self, block)
        positive(self, n=n, unroll=unroll)
        self.block, self.n, self.unroll = block, n, unroll

    def __len__(self) -> int:
        return self.n

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        """Args: input: what goes through the layers; further arguments go to each as they are."""
        part = Lifted(self.block, scope_of_block(self).description, n=self.n)
        step, key = len(part.path) - 1, part.outer.key
        carried = jax.tree.map(jnp.asarray, input)

        def layer(carry: Any, own: tuple) -> tuple[Any, tuple]:
            arrays, perturb, number = own
            copies = ((step, self.n, number),)
            out, *rest = part(arrays, perturb, (carry, *args), kwargs, key=key, copies=copies)
            self._check_like(carry, out)
            return out, tuple(rest)

        own = part.arrays, part.perturb, jnp.arange(self.n)
        output, rest = jax.lax.scan(layer, carried, own, unroll=min(self.unroll, self.n))
        part.put_back(*rest)
        return output

    def _check_like(self, carry: Any, out: Any) -> None:
        expected, got = _shown(carry), _shown(out)
        if expected != got:
            raise ValueError(
                f"{where(self)}: expected a layer to return what it takes, {expected}, got {got}; "
                "layers of other widths go beside the stack"
            )

    def _copies_of(self, name: str, declaration: Any) -> bool:
        """Whether each layer has its own array of that name."""
        del name, declaration
        return True

    def extra_repr(self) -> str:
        """What `print` shows beside the layer."""
        return f"n={self.n}"


def check_block(module: Any, block: Any) -> None:
    """Raise where what is to be repeated is not a module."""
    if not describe.is_module(block):
        raise TypeError(
            f"{type(module).__name__}: expected a module to repeat, got {block!r}"
            + ("; write it with parentheses" if isinstance(block, type) else "")
        )


def scope_of_block(module: Any) -> Any:
    """The scope of the part that is repeated."""
    return module.block._scope


def _shown(tree: Any) -> Any:
    """A tree's structure with the shape and dtype of each leaf, as text to compare and to show."""

    def leaf(a: Any) -> str:
        return f"{jnp.result_type(a)}{list(jnp.shape(a))}"

    return jax.tree.map(leaf, tree)
