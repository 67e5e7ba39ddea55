"""Dotted names of parts and arrays, and the patterns that pick some of them."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax

Pattern = str | Callable[[str, Any], bool]
"""A name with wildcards, or a function of the name and the array (its shape and dtype)."""


def matches(pattern: Pattern, name: str, array: Any = None) -> bool:
    """Whether a pattern picks a name; `*` stands for any text, dots included."""
    if isinstance(pattern, str):
        return fnmatchcase(name, pattern)
    return bool(pattern(name, array))


def dotted(path: tuple) -> str:
    """The name of a leaf from its path in a pytree, as torch's `named_parameters` has it."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def several(patterns: Pattern | Sequence[Pattern]) -> tuple[Pattern, ...]:
    """One pattern, or a sequence of them, as a tuple."""
    if isinstance(patterns, str) or callable(patterns):
        return (patterns,)  # type: ignore[return-value]
    return tuple(patterns)
