"""Modules that hold modules: Sequential, ModuleList, ModuleDict."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fx.nn import describe
from fx.nn.module import Module
from fx.nn.scope import Scope


def check_part(container: Module, name: str, module: Any) -> None:
    """Raise unless a container can have it as a part: a module, or None."""
    if module is not None and not describe.is_module(module):
        mend = ""
        if isinstance(module, type):
            mend = "; write it with parentheses"
        elif isinstance(module, list | tuple):
            mend = "; give its modules one by one, as *layers"
        elif callable(module):
            mend = "; write an nn.Module whose forward calls it"
        raise TypeError(
            f"{type(container).__name__}: expected a module at {name!r}, got {module!r}{mend}"
        )


def _check(container: Module, name: str, module: Any) -> None:
    check_part(container, name, module)
    if hasattr(type(container), name):
        raise ValueError(
            f"{type(container).__name__}: a part called {name!r} would hide the method of that "
            "name; rename it"
        )
    setattr(container, name, module)


def _is_gap(name: str, value: Any) -> bool:
    """Whether an attribute is a place in a list where no module is."""
    return value is None and name.isdigit()


class _Listed(Module):
    """What Sequential and ModuleList share: parts under the names "0", "1", ..."""

    _grows = True

    def _names(self) -> list[str]:
        """The names of the parts; None has a place among them, as in torch."""
        return [n for n, v in vars(self).items() if describe.is_module(v) or _is_gap(n, v)]

    def _parts(self) -> list[Any]:
        return [vars(self)[name] for name in self._names()]

    def __len__(self) -> int:
        return len(self._parts())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts())

    def __getitem__(self, index: Any) -> Any:
        """A part by position; a slice gives a container of the same kind."""
        if isinstance(index, slice):
            return self._slice(self._names()[index])
        parts = self._parts()
        if isinstance(index, str):
            raise TypeError(
                f"{type(self).__name__}: expected a part's position or a slice, got {index!r}; "
                f"write [0], or getattr(model, {index!r}) for a part by its name"
            )
        if not -len(parts) <= index < len(parts):
            raise IndexError(f"{type(self).__name__}: index {index} with {len(parts)} parts")
        return parts[index]

    def _slice(self, names: list[str]) -> Any:
        kind = Sequential if isinstance(self, Sequential) else ModuleList
        scope = getattr(self, "_scope", None)
        if scope is None:
            new = names if kind is Sequential else map(str, range(len(names)))  # as torch has it
            return describe.rebuild(kind, {n: vars(self)[old] for n, old in zip(new, names)})
        part = object.__new__(kind)  # in forward: a view of the same parts, under their names
        vars(part).update({name: vars(self)[name] for name in names})
        parts = {name: vars(scope.description)[name] for name in names}
        description = describe.rebuild(kind, parts)
        object.__setattr__(part, "_scope", Scope(scope.call, scope.path, description, scope.train))
        return part

    def append(self, module: Any) -> Any:
        """Add a part at the end (before the container is used); returns the container."""
        _check(self, str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Any]) -> Any:
        """Add several parts at the end; returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Any) -> Any:
        """Add a part before a position; those after it are renumbered. Returns the container."""
        parts = self._parts()
        parts.insert(index, module)
        self._number(parts)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take a part out and return it; those after it are renumbered."""
        part = self[index]
        del self[index]
        return part

    def __setitem__(self, index: int, module: Any) -> None:
        """Put another part at a position, under the name that is there."""
        names = self._names()
        self[index]  # raises where there is none
        _check(self, names[index], module)

    def __delitem__(self, index: int | slice) -> None:
        """Take parts out; those that stay are renumbered, as torch does."""
        parts = self._parts()
        if not isinstance(index, slice):
            self[index]
        del parts[index]
        self._number(parts)

    def __add__(self, other: Iterable[Any]) -> Any:
        """A new container with the parts of both, numbered."""
        kind = Sequential if isinstance(self, Sequential) else ModuleList
        if not isinstance(other, _Listed | list | tuple):
            raise TypeError(
                f"{kind.__name__}: expected a container or list of modules to add, got {other!r}"
            )
        return kind(*self, *other) if kind is Sequential else kind([*self, *other])

    def __iadd__(self, other: Iterable[Any]) -> Any:
        return self.extend(other)

    def _number(self, parts: list[Any]) -> None:
        for name in self._names():
            delattr(self, name)
        for position, module in enumerate(parts):
            _check(self, str(position), module)


class Sequential(_Listed):
    """Runs its parts in turn, each on the output of the one before.

    Args:
        *modules: the parts, named "0", "1", ...; or one dict of named parts.

    Raises:
        TypeError: a part is not a module.

    Example:
        >>> from fx import nn
        >>> nn.Sequential(nn.Linear(8, 4), nn.ReLU())
        Sequential(
          (0): Linear(in_features=8, out_features=4, bias=True)
          (1): ReLU()
        )

    Source: torch.nn.Sequential.
    """

    def __init__(self, *modules: Any):
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        parts = modules[0].items() if named else enumerate(modules)
        for name, module in parts:
            _check(self, str(name), module)

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the parts; those of a model that runs, `nn.Sequential(*self.layers)(x)`, as well."""
        views = (getattr(part, "_scope", None) is not None for part in self)
        if getattr(self, "_scope", None) is None and any(views):
            return self.forward(*inputs, **kwargs)
        return super().__call__(*inputs, **kwargs)

    def forward(self, input: Any) -> Any:
        """Args: input: whatever the first part takes."""
        for module in self:
            input = module(input)
        return input


class ModuleList(_Listed):
    """A list of modules, whose weights are the owner's.

    Args:
        modules: the parts, in order.

    Source: torch.nn.ModuleList. It takes parts until its owner's `__init__` is done.
    """

    _folds = True

    def __init__(self, modules: Iterable[Any] | None = None):
        self.extend(modules or ())


class ModuleDict(Module):
    """A dict of modules, whose weights are the owner's.

    Args:
        modules: a dict, or pairs, of names and parts.

    Source: torch.nn.ModuleDict. It takes parts until its owner's `__init__` is done.
    """

    _grows = True

    def __init__(self, modules: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None):
        self.update(modules or {})

    def __setitem__(self, name: str, module: Any) -> None:
        _check(self, name, module)

    def update(self, modules: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parts from a dict or from pairs."""
        for name, module in dict(modules).items():
            _check(self, name, module)

    def pop(self, name: str) -> Any:
        """Take a part out and return it."""
        part = self[name]
        delattr(self, name)
        return part

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def clear(self) -> None:
        """Take all parts out."""
        for name in list(self._named()):
            self.pop(name)

    def _named(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if describe.is_module(value)}

    def __getitem__(self, name: str) -> Any:
        named = self._named()
        if name not in named:
            raise KeyError(f"ModuleDict: nothing called {name!r}; it has {', '.join(named)}")
        return named[name]

    def __contains__(self, name: object) -> bool:
        return name in self._named()

    def __len__(self) -> int:
        return len(self._named())

    def __iter__(self) -> Iterator[str]:
        return iter(self._named())

    def keys(self) -> Iterable[str]:
        """The names, in order."""
        return self._named().keys()

    def values(self) -> Iterable[Any]:
        """The parts, in order."""
        return self._named().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and part, in order."""
        return self._named().items()
