"""Descriptions as data: freezing, identity, walking; arrays matched to them by name.

A description is a module's `vars`. Nothing here runs a model; `module.py` does.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from fx.donated import check_present, is_donated
from fx.nn.first import First
from fx.nn.keys import Path
from fx.nn.parameter import Buffer, Parameter, several
from fx.nn.scratch import Scratch

# The attributes of a description that are not the user's: shared weights, and what `nn.remat` and
# the like have put around a part's `forward`.
TIES, WRAPS = "_ties", "_wraps"


class Freezing(type):
    """The metaclass of modules: freezes one when its outermost `__init__` is done."""

    _grows: bool

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, which `inspect` cannot see behind `__call__`."""
        signature = inspect.signature(cls.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @property
    def grows(cls) -> bool:
        """Whether parts are taken until it is used: containers, and `nn.Module()` by itself."""
        return cls._grows or cls.__base__ is object

    def __call__(cls, /, *args: Any, **kwargs: Any) -> Any:
        """Construct, then freeze, unless it grows."""
        module = super().__call__(*args, **kwargs)
        return module if cls.grows else frozen(module)


class FrozenDict(dict):
    """A dict that a description can hold: hashable, in the order it was written."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a dict inside a module's description cannot be changed")

    __setitem__ = __delitem__ = pop = popitem = clear = _refuse
    update = setdefault = __ior__ = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple:
        return FrozenDict, (dict(self),)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A declared array: where it is read, where it is stored (elsewhere if tied), what it is."""

    path: Path
    source: Path
    declaration: Any  # of all copies together, an axis in front for each of `copies`
    copies: tuple[tuple[int, int], ...] = ()  # step of the path that stands for n parts, and n
    shared: tuple[tuple[int, int], ...] = ()  # the same, where the n parts have one array

    @property
    def name(self) -> str:
        """The dotted name, as `state_dict` lists it."""
        return ".".join(self.path)


def is_module(value: Any) -> bool:
    """Whether a value is a part of a model."""
    return isinstance(type(value), Freezing)


def always_evaluates(module: Any) -> bool:
    """Whether `eval_mode` is around a part."""
    return any(hasattr(wrap, "evaluates") for wrap in vars(module).get(WRAPS, ()))


def check_name(module: Any, name: str, reserved: tuple[str, ...]) -> None:
    """Refuse attribute names that would break the contract or a state_dict."""
    kind = type(module).__name__
    if name in reserved or isinstance(getattr(type(module), name, None), property):
        raise ValueError(f"{kind}: an attribute called {name!r} would shadow Module.{name}; rename")
    if not name or "." in name:
        raise ValueError(f"{kind}: expected a name without dots, got {name!r}")


def frozen(module: Any, inside: bool = False) -> Any:
    """Freeze a description (once): values made hashable, misuse refused, identity computed.

    Args:
        module: the description.
        inside: its owner is being frozen, which looks for parts that stand in two places.
    """
    if hasattr(module, "_scope"):
        return module if module._scope is None else module._scope.description
    attributes = vars(module)
    for name, value in attributes.items():
        attributes[name] = _frozen_value(module, name, value)
    seen: dict[int, Path] = {}
    for alias, source in ties(module):
        check_tie(module, alias, source)
    aliases = _aliases(module)
    for path, part in () if inside and type(module).grows else modules(module):
        first = seen.setdefault(id(part), path)
        shared = _canonical(path, aliases) != _canonical(first, aliases)
        if shared and any(True for _ in leaves(part)):
            raise ValueError(
                f"{type(module).__name__}: the same {type(part).__name__} stands in "
                f'"{".".join(first)}" and "{".".join(path)}"; build two, or share the weights on '
                f'purpose: nn.tie(self, "{".".join(path)}", "{".".join(first)}") in __init__'
            )
    contents = (type(module), tuple((name, _typed(v)) for name, v in attributes.items()))
    object.__setattr__(module, "_identity", contents)
    object.__setattr__(module, "_hash", hash(contents))
    object.__setattr__(module, "_scope", None)
    return module


def ready(module: Any) -> Any:
    """The frozen description of a module that is to be used."""
    if not hasattr(module, "_scope") and not type(module).grows:
        raise RuntimeError(
            f"{type(module).__name__}: used in its own __init__, before it is whole; for torch's "
            "self.apply(init_weights) use nn.init.by_type on the parts"
        )
    return frozen(module)


def kept(module: Any, name: str, make: Any) -> Any:
    """What `make` gives for a description, made once."""
    if not hasattr(module, name):
        object.__setattr__(module, name, make(ready(module)))
    return getattr(module, name)


def identity(module: Any) -> tuple:
    """What makes two descriptions equal: the class, and names and typed values in order."""
    return frozen(module)._identity


def rebuild(kind: type, attributes: Mapping[str, Any]) -> Any:
    """Make a description from its attributes, without its constructor."""
    module = object.__new__(kind)
    vars(module).update(attributes)
    return frozen(module)


def _frozen_value(module: Any, name: str, value: Any) -> Any:
    if is_module(value):
        return frozen(value, inside=True)
    if isinstance(value, Scratch):
        raise TypeError(
            f"{type(module).__name__}.{name}: nn.Scratch is declared in the class, beside its "
            f"methods: {name} = nn.Scratch()"
        )
    if isinstance(value, list | tuple | set | frozenset | dict):
        items = [*value, *value.values()] if isinstance(value, dict) else list(value)
        if any(is_module(item) or isinstance(item, Parameter | Buffer) for item in items):
            right = "nn.ModuleDict" if isinstance(value, dict) else "nn.ModuleList"
            raise TypeError(
                f"{type(module).__name__}.{name}: a plain {type(value).__name__} holds modules or "
                f"parameters, whose weights would be lost; use {right}"
            )
        if isinstance(value, dict):
            return FrozenDict({k: _frozen_value(module, name, v) for k, v in value.items()})
        items = [_frozen_value(module, name, item) for item in items]
        if hasattr(value, "_fields"):
            return type(value)(*items)
        return frozenset(items) if isinstance(value, set | frozenset) else tuple(items)
    function = getattr(value, "func", value)  # of a functools.partial
    if is_module(getattr(function, "__self__", None)):
        raise TypeError(
            f"{type(module).__name__}.{name}: a method of a module would hide that module's "
            "weights; hold the module itself, and call the method in forward"
        )
    if hasattr(value, "__array__") and not isinstance(value, np.generic | type | First):
        raise TypeError(
            f"{type(module).__name__}.{name}: a description cannot hold a raw array; declare "
            f"self.{name} = nn.Buffer(array), or nn.Parameter(array) if it is trained"
        )
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{type(module).__name__}.{name}: expected a hashable value, got {value!r} of type "
            f"{type(value).__name__}; make it a frozen dataclass or a tuple"
        ) from None
    return value


def _typed(value: Any) -> Any:
    """Make 1, 1.0 and True differ, and nan equal itself, in comparisons."""
    if isinstance(value, float):
        return type(value), value.hex()
    if isinstance(value, dict):
        return dict, tuple((_typed(k), _typed(v)) for k, v in value.items())
    if isinstance(value, tuple):
        return type(value), tuple(map(_typed, value))
    if isinstance(value, frozenset):
        return frozenset, frozenset(map(_typed, value))
    return value if is_module(value) else (type(value), value)


def modules(module: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """A module and all its parts, in the description's order."""
    yield path, module
    for name, value in vars(module).items():
        if is_module(value):
            yield from modules(value, (*path, name))


def ties(module: Any) -> tuple[tuple[Path, Path], ...]:
    """The (alias, source) pairs that `tie` recorded on this module."""
    return vars(module).get(TIES, ())


def leaves(module: Any) -> Iterator[Leaf]:
    """Every declared array: a module's parameters, its buffers, then its parts, as torch lists."""
    aliases, parts = _aliases(module), dict(modules(module))
    stacks = {path: part for path, part in parts.items() if hasattr(type(part), "_copies_of")}
    for path, part in parts.items():
        for kind in (Parameter, Buffer):
            for name, value in vars(part).items():
                if isinstance(value, kind):
                    full = (*path, name)
                    around = _around(stacks, full, value) if stacks else ((), ())
                    sizes = tuple(n for _, n in around[0])
                    yield Leaf(full, _canonical(full, aliases), several(value, sizes), *around)


def _around(stacks: dict[Path, Any], path: Path, declaration: Any) -> tuple[tuple, tuple]:
    """The modules around a declaration that hold n of each array, and n parts with one array."""
    found: tuple[list, list] = [], []
    for step in range(len(path)):
        if path[:step] in stacks:
            stack = stacks[path[:step]]
            own = stack._copies_of(".".join(path[step + 1 :]), declaration)
            found[not own].append((step, vars(stack)["n"]))
    return tuple(found[0]), tuple(found[1])


def _aliases(module: Any) -> dict[Path, Path]:
    return {p + a: p + s for p, part in modules(module) for a, s in ties(part)}


def _canonical(path: Path, aliases: dict[Path, Path]) -> Path:
    for end in range(len(path), 0, -1):
        if path[:end] in aliases:
            return _canonical(aliases[path[:end]] + path[end:], aliases)
    return path


def find(module: Any, path: Path) -> Any:
    """What a path leads to.

    Raises:
        ValueError: nothing is there.
    """
    value = module
    for step in path:
        if not is_module(value) or step not in vars(value):
            name = ".".join(path)
            raise ValueError(f"{type(module).__name__} has nothing called {name!r} (at {step!r})")
        value = vars(value)[step]
    return value


def check_tie(module: Any, alias: Path, source: Path) -> None:
    """Raise unless two paths lead to things that can share weights."""
    first, second = find(module, alias), find(module, source)
    if isinstance(first, Parameter) and isinstance(second, Parameter):
        alike = first.shape == second.shape and first.dtype == second.dtype
    else:
        alike = is_module(first) and is_module(second) and first == second
    names = ".".join(alias), ".".join(source)
    if not alike:
        raise ValueError(
            f"{type(module).__name__}: expected two parameters of one shape or two equal parts to "
            f"tie, got {names[0]!r} ({first!r}) and {names[1]!r} ({second!r})"
        )
    if _repeated(module, alias) != _repeated(module, source):
        raise ValueError(
            f"{type(module).__name__}: {names[0]!r} and {names[1]!r} cannot be tied, as one of "
            "them stands for several layers (nn.Stack, nn.vmap) and the other does not"
        )
    others = {a: s for a, s in ties(module) if a != alias}
    if _canonical(source, others)[: len(alias)] == alias:
        raise ValueError(
            f"{type(module).__name__}: {names[1]!r} is {names[0]!r} itself, or tied to it already"
        )


def _repeated(module: Any, path: Path) -> list[Path]:
    return [
        path[:end]
        for end in range(len(path))
        if hasattr(type(find(module, path[:end])), "_copies_of")
    ]


def put(tree: dict, path: Path, value: Any) -> None:
    """Store a value in nested dicts."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def collect(module: Any, arrays: dict[Path, Any], prefix: Path = ()) -> tuple[dict, dict]:
    """Params and state of a description whose arrays lie by path below a prefix."""
    trees: tuple[dict, dict] = {}, {}
    for leaf in leaves(module):
        if leaf.path == leaf.source:
            value = arrays[prefix + leaf.path]
            put(trees[isinstance(leaf.declaration, Buffer)], leaf.path, value)
    return trees


def flatten(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves of nested dicts with their paths."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, (*path, name))
        else:
            yield (*path, name), value


def match(module: Any, params: Any, state: Any) -> dict[Path, Any]:
    """Give every declared path its array, tied ones included.

    Raises:
        TypeError: params or state is not a dict.
        ValueError: listing every missing and unexpected name and every wrong shape; an array whose
            memory went into a training step.
    """
    given: dict[bool, dict[Path, Any]] = {}
    for is_buffer, (word, tree) in enumerate((("params", params), ("state", state))):
        if not isinstance(tree, Mapping):
            raise TypeError(
                f"{type(module).__name__}.apply: expected {word} to be a dict as init returns it, "
                f"got {type(tree).__name__}; the order is apply(params, state, *inputs)"
            )
        given[bool(is_buffer)] = dict(flatten(tree))
    arrays, wrong, known = {}, [], set()
    for leaf in leaves(module):
        is_buffer = isinstance(leaf.declaration, Buffer)
        word = "state" if is_buffer else "params"
        known.add((is_buffer, leaf.source))
        if leaf.source not in given[is_buffer]:
            wrong.append(f"missing in {word}: {leaf.name}")
            continue
        value = given[is_buffer][leaf.source]
        if is_donated(value):
            check_present(type(module).__name__, params=params, state=state)
        if jnp.shape(value) != leaf.declaration.shape:
            expected, got = leaf.declaration.shape, jnp.shape(value)
            wrong.append(f"{leaf.name}: expected the shape {expected}, got {got}")
        arrays[leaf.path] = jnp.array(value) if isinstance(value, np.ndarray) else value
    for is_buffer, tree in given.items():
        word = "state" if is_buffer else "params"
        wrong += [
            f"unexpected in {word}: {'.'.join(p)}" for p in tree if (is_buffer, p) not in known
        ]
    if wrong:
        raise ValueError(
            f"{type(module).__name__}: params and state do not fit the model; "
            "make them with its init or with fx.load_state_dict\n  " + "\n  ".join(wrong)
        )
    return arrays


def rewrite(tree: Mapping, arrays: dict[Path, Any], path: Path = ()) -> dict:
    """A tree of the same structure, its leaves looked up by path."""
    return {
        name: rewrite(value, arrays, (*path, name))
        if isinstance(value, Mapping)
        else arrays[(*path, name)]
        for name, value in tree.items()
    }
