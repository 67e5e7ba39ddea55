"""Weights and models of others, read and written."""

from fx.interop.weights import read_weights, write_weights

__all__ = ["read_weights", "write_weights"]
