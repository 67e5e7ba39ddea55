"""Weights and models of others, read and written."""

from fx.interop.torch_arrays import from_torch, to_torch
from fx.interop.torch_file import read_torch
from fx.interop.weights import read_weights, write_weights

__all__ = ["from_torch", "read_torch", "read_weights", "to_torch", "write_weights"]
