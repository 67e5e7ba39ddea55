"""Calls of torch as expressions of fx."""
