"""A fingerprint of a pipeline of grain, read off how it was put together."""

from __future__ import annotations

import functools
import types
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, slice, range)
_DEEPEST, _SAMPLES = 40, 64
# What is taken down while a pipeline is read, and how it is read ahead.
_PASSING = {"has_child", "_dataset", "_read_options"}


def fingerprint(pipeline: Any) -> str:
    """Return 8 hexadecimal digits that another pipeline most probably has not.

    It is the CRC-32 of its stages: their kinds, numbers and seeds, the names of the functions with
    what they close over, and of arrays and lists at most 64 entries. A change inside of a function
    is not seen. The pipeline is not read.
    """
    return f"{zlib.crc32(repr(_describe(pipeline, 0)).encode()):08x}"


def _describe(value: Any, depth: int) -> Any:
    """Turn a value into tuples of plain values, the same in every process."""
    if isinstance(value, _PLAIN):
        return repr(value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if depth > _DEEPEST:
        return kind
    each = functools.partial(_describe, depth=depth + 1)
    if callable(getattr(value, "fingerprint", None)):
        return kind, value.fingerprint()
    if isinstance(value, np.ndarray):
        rows = value[_spread(len(value))] if value.ndim else value
        return kind, str(value.dtype), value.shape, zlib.crc32(np.ascontiguousarray(rows).tobytes())
    if isinstance(value, functools.partial):
        return kind, each(value.func), each(value.args), each(value.keywords)
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return value.__module__, value.__qualname__, each(cells), each(value.__defaults__)
    if isinstance(value, Mapping):
        return kind, tuple((repr(key), each(value[key])) for key in value)
    if isinstance(value, list | tuple):
        return kind, len(value), tuple(each(value[i]) for i in _spread(len(value)))
    if isinstance(value, set | frozenset):
        return kind, tuple(sorted(repr(each(item)) for item in value))
    if callable(value) and hasattr(value, "__qualname__"):  # a class, a method, a built-in one
        return kind, value.__qualname__
    parts = sorted(getattr(value, "__dict__", {}).items())
    return kind, tuple((name, each(part)) for name, part in parts if _lasting(value, name))


def _spread(length: int) -> list[int]:
    count = min(length, _SAMPLES)
    return [i * length // count for i in range(count)]


def _lasting(value: Any, name: str) -> bool:
    """Whether an attribute is from the beginning, and not kept from a first use."""
    cached = isinstance(getattr(type(value), name, None), functools.cached_property)
    return name not in _PASSING and not cached
