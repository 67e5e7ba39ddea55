"""Attributes that a forward assigns and others of its methods read: values of one call."""

from typing import Any


class Scratch:
    """Declares, in a class, an attribute that `forward` and the methods it calls may assign.

    What is assigned is there until `apply` returns, for every method of this part and for the parts
    around it, and is no part of params or state: the next call begins without it, or with what
    `__init__` gave it. Values do not cross `nn.remat`, `nn.vmap`, `nn.Stack` and `functional`,
    inside of which a part runs by itself: there it returns them, or is given them. In PyTorch such
    an attribute stays until it is overwritten; what one call is to leave for the next is an
    `nn.Buffer`.

    Raises:
        AttributeError: it is read before it was assigned, or where it was assigned on the other
            side of such a transformation.
        RuntimeError: it is assigned under a transformation inside of forward.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> class Decoder(nn.Module):
        ...     hidden = nn.Scratch()
        ...
        ...     def __init__(self):
        ...         self.cell = nn.GRUCell(4, 4)
        ...
        ...     def step(self, x):
        ...         self.hidden = self.cell(x, self.hidden)
        ...         return self.hidden
        ...
        ...     def forward(self, xs):
        ...         self.hidden = jnp.zeros(xs.shape[1:])
        ...         return jnp.stack([self.step(x) for x in xs])
        >>> params, state = Decoder().init(jax.random.key(0))
        >>> Decoder().apply(params, state, jnp.ones((3, 2, 4)))[0].shape
        (3, 2, 4)
    """

    # Declared to return Any: in methods the attribute is whatever they assign.
    def __new__(cls) -> Any:  # noqa: D102
        return super().__new__(cls)

    def __get__(self, module: Any, owner: type) -> Any:
        """Reached where nothing was assigned: an object's own attributes come first."""
        if module is None:
            return self
        raise AttributeError("no value yet")  # Module.__getattr__ says of what


def is_scratch(module: Any, name: str) -> bool:
    """Whether a module's class declares an attribute so."""
    return isinstance(getattr(type(module), name, None), Scratch)
