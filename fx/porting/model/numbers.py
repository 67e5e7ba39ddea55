"""A tensor of numbers as source: a short list, or one of the patterns that buffers have."""

import enum
import math
from typing import Any

import numpy as np

from fx.interop.torch_arrays import tensor_array
from fx.porting.read.names import DTYPES

_LARGEST = 2**31 - 1
_SMALL = 256  # numbers that are written out


def text(value: Any) -> str | None:
    """The array as an expression of `jax.numpy`; None where it is neither short nor regular."""
    word = DTYPES[str(value.dtype).removeprefix("torch.")]
    array = tensor_array(value, "port")
    if array.dtype.kind in "iu" and array.size and max(array.max(), -array.min()) > _LARGEST:
        return None  # more than 32 bits
    if array.dtype.kind == "f" and (np.signbit(array) & (array == 0)).any():
        return None  # -0.0
    with np.errstate(over="ignore"):
        if array.dtype == np.float64 and not np.isfinite(array.astype(np.float32)).all():
            return None
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all() or not array.size:
        return None
    if array.size <= _SMALL:
        return f"jnp.array({_numbers(array)}, jnp.{word})"
    shape = tuple(array.shape)
    first = array.flat[0]
    if (array == first).all():
        return f"jnp.full({shape}, {_numbers(first)}, jnp.{word})"
    if array.ndim > 1 and (array == np.tril(np.ones_like(array))).all():
        return f"jnp.tril(jnp.ones({shape}, jnp.{word}))"
    length = shape[-1]
    if word != "bool_" and (array == np.arange(length, dtype=array.dtype)).all():
        row = f"jnp.arange({length}, dtype=jnp.{word})"
        return row if array.ndim == 1 else f"jnp.broadcast_to({row}, {shape})"
    return None


def literal(value: Any) -> str | None:
    """Numbers, text, None, and what holds such, as source; None for everything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f'float("{value}")'
    if value is None or isinstance(value, bool | int | str | bytes | complex):
        return None if isinstance(value, enum.Enum) else repr(value)
    if type(value) is dict:
        pairs = [(literal(key), literal(each)) for key, each in value.items()]
        said = [f"{key}: {each}" for key, each in pairs if key and each]
        return f"{{{', '.join(said)}}}" if len(said) == len(pairs) else None
    if type(value) not in (tuple, list, set) or not all(map(literal, value)):
        return None
    inner = ", ".join(text or "" for text in map(literal, value))
    if type(value) is tuple:
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return f"[{inner}]" if type(value) is list else f"{{{inner}}}" if value else "set()"


def is_numbers(value: Any) -> bool:
    """Whether a value is a NumPy array of numbers, which a description holds as a buffer."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse tensor."""
    import torch

    return isinstance(value, torch.Tensor) and value.layout != torch.strided


def as_tensor(value: Any) -> Any:
    """An array of NumPy's as a tensor; of 64 bits for want of another wish, it becomes float32."""
    import torch

    return torch.from_numpy(value.astype(np.float32) if value.dtype == np.float64 else value)


def _numbers(array: Any) -> str:
    """Nested numbers, each as short as its precision allows."""
    if getattr(array, "ndim", 0):
        return f"[{', '.join(map(_numbers, array))}]"
    return str(array.item()) if array.dtype.kind != "f" else str(array)
