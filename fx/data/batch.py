"""What a batch is to everything that uses one: a pair of inputs and targets."""

import contextlib
from collections.abc import Iterator
from typing import Any


def split_batch(batch: Any) -> tuple[Any, Any]:
    """Return inputs and targets, or say what came instead."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        shape = getattr(batch, "shape", None)
        came = type(batch).__name__ if shape is None else f"an array {list(shape)}"
        if isinstance(batch, tuple | list | dict):
            came += f" of {len(batch)}"
        raise ValueError(
            f"train step: expected a batch (inputs, targets), got {came}; several inputs go in as "
            "one tuple, ((a, b), targets)"
        )
    return batch[0], batch[1]


def targets_of(inputs: Any, targets: Any) -> Any:
    """What loss and metrics get: the targets; without any (None) the inputs, to reconstruct."""
    return inputs if targets is None else targets


def as_arguments(inputs: Any) -> tuple:
    """Inputs as the model's positional arguments: a tuple is several, anything else is one."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


@contextlib.contextmanager
def explained(inputs: Any) -> Iterator[None]:
    """Say of a call that fails at the number of its arguments how inputs become arguments."""
    try:
        yield
    except TypeError as error:
        if "positional argument" in str(error):
            came = f"a {type(inputs).__name__}"
            if isinstance(inputs, tuple):
                came = f"a tuple of {len(inputs)}, and so became {len(inputs)} arguments"
            error.add_note(
                f"the batch's inputs are {came}; the model gets a tuple as several arguments, and "
                "anything else, a dict for example, as one"
            )
        raise
