"""Weights computed from others, anew at every call: weight norm, spectral norm, orthogonal maps.

torch replaces a layer's class by one whose weight is a property. Here a new description of such a
class is returned, and the layer that was given stays as it is. The class computes the weight once
for each call of `forward`, and again wherever it is read outside of that.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from fx.nn import describe
from fx.nn.container import ModuleDict
from fx.nn.module import Module
from fx.nn.parameter import Parameter

COMPUTED = "_computed"  # the attribute that holds them, by class `Computed`


@dataclass(frozen=True)
class Computed:
    """A weight that is computed: its name, what it was declared as, and how, from the view."""

    name: str
    weight: Parameter
    function: Callable[[Any], jax.Array]


class Parametrized(Module):
    """What the classes that `computed` makes have in front of the layer's own."""

    _base: type
    _names: tuple[str, ...]

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Compute the weights, then run the layer."""
        own = vars(self)
        for each in own[COMPUTED]:
            own[each.name] = each.function(self)
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            for each in own[COMPUTED]:
                own.pop(each.name, None)

    def __reduce__(self) -> tuple:
        _, (kind, attributes) = super().__reduce__()
        return _restore, (kind._base, kind._names, kind.__name__, attributes)


class Weight:
    """In the class: reads a computed weight in `forward`, and its declaration elsewhere."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, module: Any, kind: Any = None) -> Any:
        """No data descriptor: what `forward` has computed already is found before this."""
        if module is None:
            return self
        found = {each.name: each for each in vars(module)[COMPUTED]}[self.name]
        bound = getattr(module, "_scope", None) is not None
        return found.function(module) if bound else found.weight


@functools.cache
def _class(base: type, names: tuple[str, ...], label: str) -> type:
    body = {name: Weight(name) for name in names}
    body |= {"_base": base, "_names": names, "__module__": base.__module__, "__doc__": base.__doc__}
    return type(base)(label, (Parametrized, base), body)


def _restore(base: type, names: tuple[str, ...], label: str, attributes: dict) -> Any:
    return describe.rebuild(_class(base, names, label), attributes)


@dataclass(frozen=True)
class FromWeight:
    """An initialiser of what stands for a weight: makes the weight, and takes a function of it.

    It is given the key that the weight itself would have, so that the layer begins with the weight
    that it would have without.
    """

    weight: Parameter
    place: tuple[str, ...]  # below the layer
    name: str
    function: Callable[[jax.Array, jax.Array], jax.Array]  # of a key and the weight

    def key_path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Whose key it takes: the weight's."""
        return (*path[: len(path) - len(self.place)], self.name)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        """Make the array."""
        return self.function(key, self.weight.init(key, self.weight.shape, self.weight.dtype))


def itself(key: jax.Array, weight: jax.Array) -> jax.Array:
    """The weight."""
    return weight


def declared(module: Module, name: str, where: str) -> Parameter:
    """The declaration of a layer's own parameter.

    Raises:
        ValueError: the layer has no parameter of that name, or one that is computed already.
        AttributeError: it is a part inside of `forward`.
    """
    found = vars(module).get(name)
    if not isinstance(found, Parameter):
        others = [n for n, v in vars(module).items() if isinstance(v, Parameter)]
        got = "which is computed already" if isinstance(module, Parametrized) else f"of {others}"
        raise ValueError(
            f"{where}: expected {name!r} to be a parameter of {type(module).__name__}, got {got}"
        )
    if describe.ready(module) is not module:
        raise AttributeError(f"{where}: a part inside of forward cannot change; do it in __init__")
    return found


def computed(
    module: Module,
    name: str,
    function: Callable[[Any], jax.Array],
    parts: dict[str, Any],
    label: str,
) -> Any:
    """A copy of a layer whose parameter is computed.

    Args:
        module: a layer; it stays as it is.
        name: of the parameter.
        function: hashable; gives the weight from the layer's view.
        parts: declarations and modules to add.
        label: the new class's name.
    """
    attributes = dict(vars(module))
    each = Computed(name, attributes.pop(name), function)
    before = attributes.pop(COMPUTED, ())
    base = getattr(type(module), "_base", type(module))
    names = (*(other.name for other in before), name)
    attributes |= {**parts, COMPUTED: (*before, each)}
    return describe.rebuild(_class(base, names, label), attributes)


class ParametrizationList(Module):
    """The arrays behind a weight, `original` or `original0`, ..., and the module that makes it."""

    def __init__(self, parametrization: Module, originals: dict[str, Parameter]):
        for name, declaration in originals.items():
            setattr(self, name, declaration)
        setattr(self, "0", parametrization)

    def __getitem__(self, index: int) -> Any:
        """The parametrization, as [0]."""
        return vars(self)[str(index)]

    def forward(self) -> jax.Array:
        """The weight."""
        names = (n for n in vars(self) if n.startswith("original"))
        return self[0](*(vars(self)[n] for n in names))


@dataclass(frozen=True)
class FromParts:
    """Reads a weight off the view's `parametrizations`."""

    name: str

    def __call__(self, view: Any) -> jax.Array:
        """The weight."""
        return view.parametrizations[self.name]()


@dataclass(frozen=True)
class Original:
    """The arrays behind a weight, from the weight: `right_inverse`, or the weight itself."""

    parametrization: Module
    index: int | None = None

    def __call__(self, key: jax.Array, weight: jax.Array) -> Any:
        """All of them, or one."""
        inverse = getattr(type(self.parametrization), "right_inverse", None)
        made = weight if inverse is None else self.parametrization.right_inverse(weight)  # type: ignore[attr-defined]
        return made if self.index is None else made[self.index]


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """A copy of a layer whose parameter is what a module makes of another array.

    Args:
        module: a layer; it stays as it is.
        tensor_name: of the parameter.
        parametrization: ``forward(original) -> weight``. If it has ``right_inverse(weight)``, what
            that returns of the initial weight, an array or a tuple of them, is the original;
            otherwise the initial weight is. It may use no array of the module.
        unsafe: whether the weight may have another shape or dtype.

    Returns:
        The description: a class ``Parametrized<Layer>``, with the names that torch has:
        ``parametrizations.<name>.original``, or ``original0``, ``original1``, ...

    Raises:
        ValueError: the layer has no such parameter, or it is computed already; the weight has
            another shape or dtype, and not `unsafe`.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> from fx import nn
        >>> class Symmetric(nn.Module):
        ...     def forward(self, x):
        ...         return jnp.triu(x) + jnp.triu(x, 1).T
        >>> layer = nn.utils.parametrize.register_parametrization(
        ...     nn.Linear(3, 3), "weight", Symmetric())
        >>> list(fx.state_dict(layer, layer.init(jax.random.key(0))[0]))
        ['bias', 'parametrizations.weight.original']

    Source: torch.nn.utils.parametrize.register_parametrization, which changes the layer in place,
    and takes a second one for the same parameter.
    """
    where = "register_parametrization"
    weight = declared(module, tensor_name, where)
    place = ("parametrizations", tensor_name)
    made = jax.eval_shape(Original(parametrization), _key(), _array(weight))
    several = isinstance(made, tuple | list)
    originals = {}
    for i, array in enumerate(made if several else [made]):
        own = f"original{i}" if several else "original"
        function = Original(parametrization, i if several else None)
        begin = FromWeight(weight, (*place, own), tensor_name, function)
        originals[own] = Parameter(array.shape, begin, array.dtype)
    parts = ParametrizationList(parametrization, originals)
    if not unsafe:
        _check_same(parts, weight, where)
    others = vars(vars(module).get("parametrizations", ModuleDict()))
    others = {n: v for n, v in others.items() if describe.is_module(v)}
    label = type(module).__name__
    label = label if label.startswith("Parametrized") else "Parametrized" + label
    held = {"parametrizations": ModuleDict({**others, tensor_name: parts})}
    return computed(module, tensor_name, FromParts(tensor_name), held, label)


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _array(weight: Parameter) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(weight.shape, weight.dtype)


def _check_same(parts: Module, weight: Parameter, where: str) -> None:
    variables = jax.eval_shape(parts.init, _key())
    made, _ = jax.eval_shape(parts.apply, *variables)
    if (made.shape, made.dtype) != (weight.shape, weight.dtype):
        raise ValueError(
            f"{where}: expected a weight {weight.dtype} {list(weight.shape)}, as it was, got "
            f"{made.dtype} {list(made.shape)}; pass unsafe=True if that is meant"
        )
