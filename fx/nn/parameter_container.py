"""Modules that hold parameters: ParameterList, ParameterDict."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fx.nn.module import Module
from fx.nn.parameter import Buffer, Parameter


class _Parameters(Module):
    """What both share: declarations as attributes, which read as arrays in `forward`."""

    _grows = True

    def _put(self, name: str, value: Any) -> None:
        if hasattr(value, "__array__") and not isinstance(value, Parameter | Buffer):
            value = Parameter(value)
        if not isinstance(value, Parameter | Buffer):
            raise TypeError(
                f"{type(self).__name__}: expected a Parameter or an array at {name!r}, got "
                f"{value!r}; hold other values in attributes of their own"
            )
        if hasattr(type(self), name):
            raise ValueError(
                f"{type(self).__name__}: a parameter called {name!r} would hide the method of that "
                "name; rename it"
            )
        setattr(self, name, value)

    def _held(self) -> dict[str, Any]:
        """Declarations, or in `forward` their arrays, by name in order."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __len__(self) -> int:
        return len(self._held())

    def extra_repr(self) -> str:
        """A line for each parameter."""
        return "\n".join(
            f"  ({name}): {type(value).__name__} containing: [{value.dtype.name} of size "
            f"{'x'.join(map(str, value.shape))}]"
            for name, value in self._held().items()
        )


class ParameterList(_Parameters):
    """A list of parameters, which are the owner's.

    Args:
        values: `nn.Parameter` or `nn.Buffer` declarations, or arrays, which become parameters.

    Raises:
        TypeError: a value is something else.

    Example:
        >>> import jax
        >>> from fx import nn
        >>> class Scales(nn.Module):
        ...     def __init__(self, dims):
        ...         self.scales = nn.ParameterList([nn.Parameter(d, nn.init.ones) for d in dims])
        ...
        ...     def forward(self, x):
        ...         return [x * scale for scale in self.scales]
        >>> params, state = Scales([1, 2]).init(jax.random.key(0))
        >>> [y.tolist() for y in Scales([1, 2]).apply(params, state, 3.0)[0]]
        [[3.0], [3.0, 3.0]]

    Source: torch.nn.ParameterList, which also takes values that are no arrays.
    """

    def __init__(self, values: Iterable[Any] | None = None):
        self.extend(values or ())

    def append(self, value: Any) -> "ParameterList":
        """Add a parameter at the end (before the list is used); returns the list."""
        self._put(str(len(self)), value)
        return self

    def extend(self, values: Iterable[Any]) -> "ParameterList":
        """Add several parameters at the end; returns the list."""
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> "ParameterList":
        return self.extend(values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._held().values())

    def __getitem__(self, index: Any) -> Any:
        """A parameter by position; a slice gives a list."""
        values = list(self)
        if not isinstance(index, slice) and not -len(values) <= index < len(values):
            raise IndexError(f"ParameterList: index {index} with {len(values)} parameters")
        return values[index]

    def __setitem__(self, index: int, value: Any) -> None:
        """Put another parameter at a position."""
        self[index]  # raises where there is none
        self._put(str(index % len(self)), value)


class ParameterDict(_Parameters):
    """A dict of parameters, which are the owner's.

    Args:
        parameters: a dict, or pairs, of names and `nn.Parameter` or `nn.Buffer` declarations, or
            arrays, which become parameters.

    Raises:
        TypeError: a value is something else.
        ValueError: a name is one of the dict's methods, begins with "_" or has a dot.

    Source: torch.nn.ParameterDict, which sorts what comes as a plain dict, and also takes values
    that are no arrays.
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None):
        self.update(parameters or {})

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise ValueError(f"ParameterDict: expected a name without a first '_', got {name!r}")
        self._put(name, value)

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parameters from a dict or from pairs."""
        for name, value in dict(parameters).items():
            self[name] = value

    def __getitem__(self, name: str) -> Any:
        held = self._held()
        if name not in held:
            raise KeyError(f"ParameterDict: nothing called {name!r}; it has {', '.join(held)}")
        return held[name]

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def pop(self, name: str) -> Any:
        """Take a parameter out and return it."""
        value = self[name]
        delattr(self, name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter, or the default where there is none of that name."""
        return self._held().get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._held()

    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    def keys(self) -> Iterable[str]:
        """The names, in order."""
        return self._held().keys()

    def values(self) -> Iterable[Any]:
        """The parameters, in order."""
        return self._held().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and parameter, in order."""
        return self._held().items()
