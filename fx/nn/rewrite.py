"""Changed copies of descriptions, and shared weights."""

from collections.abc import Callable
from typing import Any

from fx.nn import describe
from fx.nn.module import Module
from fx.nn.parameter import Parameter


def tie(module: Module, alias: str, source: str) -> None:
    """In `__init__`: let two names share one set of weights.

    The weights are stored under `source`; `state_dict` lists them under both names, and a
    gradient is the sum over both uses.

    Args:
        module: the module whose `__init__` runs (`self`).
        alias: dotted name, from `module`, of a parameter or of a whole part.
        source: dotted name of its equal, a parameter of the same shape or an equal part.

    Raises:
        ValueError: a name leads nowhere, or the two are not alike.

    Example:
        >>> import jax
        >>> from fx import nn
        >>> class Language(nn.Module):
        ...     def __init__(self):
        ...         self.embed = nn.Embedding(10, 4)
        ...         self.head = nn.Linear(4, 10, bias=False)
        ...         nn.tie(self, "head.weight", "embed.weight")
        >>> jax.tree.map(lambda a: a.shape, Language().init(jax.random.key(0))[0])
        {'embed': {'weight': (10, 4)}}

    Source: in torch, ``self.head.weight = self.embed.weight``.
    """
    first, second = _find(module, alias), _find(module, source)
    if isinstance(first, Parameter) and isinstance(second, Parameter):
        alike = first.shape == second.shape and first.dtype == second.dtype
    else:
        alike = describe.is_module(first) and describe.is_module(second) and first == second
    if not alike or alias == source:
        raise ValueError(
            f"{type(module).__name__}: expected two parameters of one shape or two equal parts to "
            f"tie, got {alias!r} ({first!r}) and {source!r} ({second!r})"
        )
    pair = (tuple(alias.split(".")), tuple(source.split(".")))
    object.__setattr__(module, describe.TIES, (*describe.ties(module), pair))


def replace(module: Module, name: str, new: Any) -> Module:
    """A copy of a description with one part, declaration or value changed.

    Args:
        module: any description; it stays as it is.
        name: dotted name of what to change, which must exist.
        new: what takes its place.

    Returns:
        The changed description, of the same class.

    Raises:
        ValueError: the name leads nowhere.

    Example:
        >>> from fx import nn
        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
        >>> nn.replace(model, "0", nn.Linear(8, 2))[0].out_features
        2
    """
    _find(module, name)
    head, _, rest = name.partition(".")
    attributes = dict(vars(module))
    attributes[head] = replace(attributes[head], rest, new) if rest else new
    return describe.rebuild(type(module), attributes)


def transform(module: Module, change: Callable[[Module], Module]) -> Module:
    """A copy of a description with `change` applied to every part, innermost first.

    Args:
        module: any description; it stays as it is.
        change: takes a part and returns it or another; it sees parts that are changed already.
    """
    attributes = {
        name: transform(value, change) if describe.is_module(value) else value
        for name, value in vars(module).items()
    }
    return change(describe.rebuild(type(module), attributes))


def _find(module: Any, name: str) -> Any:
    value = module
    for step in name.split("."):
        if not describe.is_module(value) or step not in vars(value):
            raise ValueError(f"{type(module).__name__} has nothing called {name!r} (at {step!r})")
        value = vars(value)[step]
    return value
