"""Changed copies of descriptions, and shared weights."""

from collections.abc import Callable
from typing import Any

from fx.nn import describe
from fx.nn.container import ModuleDict, ModuleList, Sequential, check_part
from fx.nn.keys import Path
from fx.nn.module import RESERVED, Module
from fx.nn.parameter import Buffer, Parameter


def tie(module: Module, alias: str, source: str) -> None:
    """In `__init__`: let two names share one set of weights.

    The weights are stored under `source`; `state_dict` lists them under both names, and a
    gradient is the sum over both uses.

    Args:
        module: the module whose `__init__` runs (`self`).
        alias: dotted name, from `module`, of a parameter or of a whole part.
        source: dotted name of its equal, a parameter of the same shape or an equal part.

    Raises:
        ValueError: a name leads nowhere, the two are not alike, or they are tied already.
        AttributeError: `module` is frozen, its `__init__` being done.

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
    if hasattr(module, "_scope"):
        raise AttributeError(
            f"{type(module).__name__} is frozen after __init__: call nn.tie(self, ...) in __init__"
        )
    pair = (tuple(alias.split(".")), tuple(source.split(".")))
    describe.check_tie(module, *pair)
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
        TypeError: something other than a declaration or None for a declaration; than a part, a
            function or None for a part; than a part or None in a container.

    Example:
        >>> from fx import nn
        >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
        >>> nn.replace(model, "0", nn.Linear(8, 2))[0].out_features
        2
    """
    _check_alike(module, tuple(name.split(".")), new)
    head, _, rest = name.partition(".")
    attributes = dict(vars(module))
    attributes[head] = replace(attributes[head], rest, new) if rest else new
    return describe.rebuild(type(module), attributes)


def mark(module: Module, **attributes: Any) -> Module:
    """A copy of a description with attributes of one's own, which a forward around it reads.

    Args:
        module: any description; it stays as it is.
        attributes: numbers, text, tuples of such: what a description can hold, but no parts and
            no declarations.

    Returns:
        The same part with the attributes: `nn.mark(layer, index=3).index` is 3. Its weights have
        the names that they had.

    Raises:
        ValueError: the part has an attribute of the name, or all modules have.
        TypeError: a value is a part, a declaration, or cannot be held.

    Example:
        >>> from fx import nn
        >>> layers = nn.Sequential(nn.mark(nn.Linear(8, 4), source=-1), nn.ReLU())
        >>> layers[0].source
        -1

    Source: in torch, ``layer.source = -1``.
    """
    for name, value in attributes.items():
        describe.check_name(module, name, RESERVED)
        if hasattr(module, name):
            raise ValueError(
                f"nn.mark: {type(module).__name__} has an attribute {name!r}; "
                f"nn.replace(module, {name!r}, new) changes it"
            )
        if describe.is_module(value) or isinstance(value, Parameter | Buffer):
            raise TypeError(
                f"nn.mark: expected a value for {name!r}, got {type(value).__name__}; parts and "
                "declarations belong into the constructor of the part's class"
            )
    return describe.rebuild(type(module), {**vars(module), **attributes})


def _check_alike(module: Module, path: Path, new: Any) -> None:
    parent, old = (describe.find(module, each) for each in (path[:-1], path))
    name = ".".join(path)
    if isinstance(parent, Sequential | ModuleList | ModuleDict):
        check_part(parent, name, new)
    declares = isinstance(old, Parameter | Buffer)
    if new is None or not (declares or describe.is_module(old)):
        return
    if not (isinstance(new, Parameter | Buffer) if declares else callable(new)):
        wanted = "nn.Parameter, nn.Buffer" if declares else "a part, a function"
        raise TypeError(
            f"nn.replace: expected {wanted} or None for {type(module).__name__}'s {name!r}, got "
            f"{type(new).__name__}; a description holds no values: those are in params and state"
        )


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
