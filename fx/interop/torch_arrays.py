"""Live tensors of PyTorch as NumPy arrays and back; torch is imported by who calls `to_torch`."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fx.interop.safetensors_file import dtype_of, kind

# NumPy and torch do not exchange these; the bits go over as integers of the same width.
_AS_BITS = frozenset(
    "bfloat16 float8_e4m3fn float8_e5m2 float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz".split()
)


def from_torch(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies a live state dict of PyTorch into NumPy arrays.

    Args:
        state_dict: `module.state_dict()`, or any flat dict of tensors, on any device.

    Returns:
        Arrays by name, 64-bit ones as they are; bfloat16 and float8 come as `ml_dtypes` has them.
        Names that share a tensor share an array. `fx.load_state_dict` and `fx.write_weights`
        take it; both take the tensors themselves, too.

    Raises:
        TypeError: a value is not a dense tensor (sparse, quantized, without data), or has a dtype
            that NumPy lacks.

    Example:
        >>> import torch
        >>> from_torch(torch.nn.Linear(2, 1, dtype=torch.bfloat16).state_dict())["bias"].dtype
        dtype(bfloat16)

    Source: torch.Tensor.numpy, which refuses bfloat16, and shares memory with the tensor.
    """
    found: dict[tuple, np.ndarray] = {}
    arrays = {}
    for name, tensor in items("from_torch", state_dict):
        if not is_tensor(tensor):
            raise TypeError(
                f'from_torch "{name}": expected a tensor of PyTorch, got {type(tensor).__name__}'
            )
        view = tensor_array(tensor, f'from_torch "{name}"')
        same = memory(tensor) or (name,)
        if same not in found:
            found[same] = view.copy()
        arrays[name] = found[same]
    return arrays


def to_torch(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Copies arrays into tensors of PyTorch on the CPU.

    Args:
        weights: arrays of JAX or NumPy by name, as `fx.state_dict` gives them.

    Returns:
        Tensors by name, for `module.load_state_dict`, each with memory of its own, but for names
        that share an array: they share a tensor. dtypes stay, bfloat16 and float8 included.

    Raises:
        TypeError: a value is not an array, or has a dtype that torch lacks.

    Example:
        >>> import fx, jax, torch
        >>> model, twin = fx.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        >>> weights = fx.state_dict(model, *model.init(jax.random.key(0)))
        >>> twin.load_state_dict(to_torch(weights))
        <All keys matched successfully>
    """
    found: dict[tuple, Any] = {}
    tensors = {}
    for name, array in items("to_torch", weights):
        if not hasattr(array, "dtype") or is_tensor(array):
            raise TypeError(
                f'to_torch "{name}": expected an array of JAX or NumPy, got {type(array).__name__}'
            )
        same = memory(array) or (name,)
        if same not in found:
            found[same] = array_tensor(array, f'to_torch "{name}"')
        tensors[name] = found[same]
    return tensors


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor, without importing torch to ask."""
    return hasattr(value, "detach") and str(getattr(value, "dtype", "")).startswith("torch.")


def tensor_array(tensor: Any, where: str) -> np.ndarray:
    """The numbers of a tensor, in its own memory where it is on the CPU."""
    name = kind(tensor)
    if "strided" not in str(tensor.layout) or tensor.is_quantized or tensor.device.type == "meta":
        raise TypeError(
            f"{where}: expected a dense tensor with data, got {tensor.layout} {tensor.dtype} on "
            f"{tensor.device}; convert it: tensor.to_dense(), tensor.dequantize()"
        )
    dense = tensor.detach().cpu().resolve_conj().resolve_neg()
    if name not in _AS_BITS:
        try:
            return dense.numpy()
        except TypeError as error:
            raise TypeError(f"{where}: {error}; NumPy has no {tensor.dtype}") from error
    import torch

    bits = torch.int16 if tensor.element_size() == 2 else torch.uint8
    return dense.view(bits).numpy().view(dtype_of(name))


def array_tensor(array: Any, where: str) -> Any:
    """A tensor with a copy of the numbers of an array."""
    import torch

    name = kind(array)
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{where}: torch has no dtype {name}; convert the array first")
    copy = np.array(array, order="C")
    if not copy.dtype.isnative:
        copy = copy.astype(copy.dtype.newbyteorder("="))
    if name not in _AS_BITS:
        return torch.from_numpy(copy)
    bits = np.int16 if copy.itemsize == 2 else np.uint8
    return torch.from_numpy(copy.view(bits)).view(dtype)


def memory(value: Any) -> tuple | None:
    """What is equal for two names of one array or tensor, and None where it has no memory."""
    if is_tensor(value):
        where = (str(value.device), value.data_ptr()) if value.numel() else None
        return where and (*where, tuple(value.shape), tuple(value.stride()), str(value.dtype))
    if isinstance(value, np.ndarray):
        where = value.__array_interface__["data"][0]
        return (where, value.shape, value.strides, value.dtype.str) if value.size else None
    return (id(value),)


def items(where: str, given: Any) -> Any:
    """Names and values of a flat dict; what is none raises and says how to get one."""
    if isinstance(given, Mapping):
        return dict(given).items()  # all at once, so that no two of them can have had one address
    advice = (
        "of a file: fx.read_weights(path); of a module of PyTorch: module.state_dict(); "
        "of a model: fx.state_dict(model, params, state)"
    )
    if isinstance(given, str | os.PathLike):
        advice = f"read the file first: fx.read_weights({os.fspath(given)!r})"
    kind_of = type(given).__name__
    raise TypeError(f"{where}: expected a flat dict of arrays by name, got {kind_of}; {advice}")
