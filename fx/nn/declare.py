"""torch's methods for declaring what a module holds, for code that calls them in `__init__`."""

from typing import Any

from fx.nn.parameter import Buffer


def register_buffer(self: Any, name: str, tensor: Any, persistent: bool = True) -> None:
    """Declare a buffer from an array (or None), as torch's method of that name does."""
    setattr(self, name, None if tensor is None else Buffer(tensor, persistent=persistent))


def register_parameter(self: Any, name: str, param: Any) -> None:
    """Declare a parameter, or its absence with None, as torch's method of that name does."""
    setattr(self, name, param)


def add_module(self: Any, name: str, module: Any) -> None:
    """Add a part under a name that need not be an identifier."""
    setattr(self, name, module)
