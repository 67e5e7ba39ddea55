"""Other initialisers for the parameters of a model: `nn.init.by_type` and `nn.init.by_name`."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any


def by_name(model: Any, rules: Mapping[str, Any]) -> Any:
    """A copy of a model with other initialisers for the parameters of some names.

    Args:
        model: any module; it stays as it is.
        rules: initialisers by name, as `state_dict` has it; ``*`` stands for any letters, dots
            included. The first rule that fits a name is used. Buffers have names, too.

    Returns:
        The same model with changed declarations; ``init`` then uses them.

    Raises:
        ValueError: a rule fits no name.
        TypeError: a rule's value is no initialiser.

    Example:
        >>> from fx import nn
        >>> model = nn.init.by_name(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), {
        ...     "1.weight": nn.init.zeros, "*.weight": nn.init.normal(std=0.01)})
        >>> model[0].weight, model[1].weight.init
        (Parameter((2, 3), normal(std=0.01), float32), zeros)

    Source: in torch, a loop over ``self.named_parameters()``.
    """
    from fx.nn import describe
    from fx.nn.parameter import Buffer, Parameter
    from fx.nn.rewrite import replace

    unused, changed = dict(rules), model
    for path in [leaf.path for leaf in describe.leaves(model)]:
        name = ".".join(path)
        pattern = next((each for each in rules if fnmatchcase(name, each)), None)
        if pattern is None:
            continue
        unused.pop(pattern, None)
        old = describe.find(model, path)
        if isinstance(old, Buffer):
            new = Buffer(old.shape, rules[pattern], old.dtype, old.persistent)
        else:
            new = Parameter(old.shape, rules[pattern], old.dtype)
        changed = replace(changed, name, new)
    if unused:
        rest = ", ".join(unused)
        raise ValueError(
            f"init.by_name: {type(model).__name__} has no parameter {rest}; fx.state_dict lists "
            "the names that there are"
        )
    return changed


def by_type(model: Any, rules: Mapping[type, Any]) -> Any:
    """A copy of a model with other initialisers for the layers of some types.

    What torch users do in `_initialize_weights` with a loop over ``self.modules()``.

    Args:
        model: any module; it stays as it is.
        rules: for a layer type (subclasses count), initialisers by parameter name, or one
            initialiser, which is the weight's. The first rule that fits a layer is used.
            Parameters that a layer lacks (``bias=False``) are passed over.

    Returns:
        The same model with changed declarations; ``init`` then uses them.

    Raises:
        TypeError: a rule is for something that is no type.
        ValueError: a rule fits no layer, or names a parameter that no fitting layer ever has.

    Example:
        >>> from fx import nn
        >>> model = nn.init.by_type(nn.Sequential(nn.Linear(3, 2)), {
        ...     nn.Linear: {"weight": nn.init.normal(std=0.01), "bias": nn.init.zeros}})
        >>> model[0].weight
        Parameter((2, 3), normal(std=0.01), float32)
    """
    from fx.nn.describe import rebuild
    from fx.nn.parameter import Buffer, Parameter
    from fx.nn.rewrite import transform

    if not all(isinstance(kind, type) for kind in rules):
        raise TypeError(f"init.by_type: expected layer types (nn.Conv2d), got {list(rules)}")
    rules = {k: r if isinstance(r, Mapping) else {"weight": r} for k, r in rules.items()}
    unused = {(kind, name) for kind, names in rules.items() for name in names}

    def change(part: Any) -> Any:
        kind = next((kind for kind in rules if isinstance(part, kind)), None)
        if kind is None:
            return part
        attributes = dict(vars(part))
        for name, init in rules[kind].items():
            old = attributes.get(name)
            if name in attributes:
                unused.discard((kind, name))
            if isinstance(old, Parameter):
                attributes[name] = Parameter(old.shape, init, old.dtype)
            elif isinstance(old, Buffer):
                attributes[name] = Buffer(old.shape, init, old.dtype, old.persistent)
        return rebuild(type(part), attributes)

    changed = transform(model, change)
    if unused:
        rest = ", ".join(sorted(f"{kind.__name__}.{name}" for kind, name in unused))
        kind = type(model).__name__
        raise ValueError(f"init.by_type: no layer of {kind} has {rest}; leave that out")
    return changed
