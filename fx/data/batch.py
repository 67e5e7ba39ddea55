"""What a batch is to everything that uses one: a pair of inputs and targets."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from fx.data.transforms.mixing import applied, takes_targets


def split_batch(batch: Any) -> tuple[Any, Any]:
    """Return inputs and targets, or say what came instead."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        shape = getattr(batch, "shape", None)
        came = type(batch).__name__ if shape is None else f"an array {list(shape)}"
        if isinstance(batch, tuple | list | dict):
            came += f" of {len(batch)}"
        raise ValueError(
            f"train step: expected a batch (inputs, targets), got {came}; several inputs go in as "
            "one tuple, ((a, b), targets), and inputs alone as (inputs, None)"
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
    """Say of a call that fails for its arguments, or on a dict, how inputs become arguments."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if "positional argument" in str(error) or isinstance(inputs, dict):
            came = f"a {type(inputs).__name__}"
            if isinstance(inputs, tuple):
                came = f"a tuple of {len(inputs)}, and so became {len(inputs)} arguments"
            error.add_note(
                f"the batch's inputs are {came}; the model gets a tuple as several arguments, and "
                "anything else, a dict for example, as one"
            )
        raise


def transformed(
    transform: Callable[[Any, Any], Any] | None, inputs: Any, targets: Any, key: Any
) -> tuple[Any, Any]:
    """Inputs and targets after the step's transform; of one that fails, say what it was given."""
    if transform is None:
        return inputs, targets
    try:
        return applied(transform, inputs, targets, key)
    except Exception as error:
        if isinstance(error, jax.errors.TracerArrayConversionError):
            error.add_note(
                "transform= of the step is compiled into it: write it in jax.numpy; what is in "
                "NumPy, or decodes images, goes into the loader, Loader(transform=)"
            )
        elif isinstance(inputs, dict | tuple):
            names = f" with {', '.join(map(repr, inputs))}" * isinstance(inputs, dict)
            error.add_note(
                f"transform= gets the batch's inputs whole, a {type(inputs).__name__} of "
                f"{len(inputs)}{names}; for one of them, write a function (inputs, key) that "
                "returns all of them, that one transformed"
            )
        elif "positional argument" in str(error):
            pair = "(inputs, targets, key)"
            error.add_note(
                f"the function of transforms.WithTargets is called as function{pair}"
                if takes_targets(transform)
                else "transform= is called as transform(inputs, key); a function of targets too, "
                f"function{pair}, goes in as transforms.WithTargets(function)"
            )
        raise


def first_batch(batches: Iterable[Any]) -> Any:
    """Take the first of an epoch's batches, and close the rest; None where there is none."""
    iterator = iter(batches)
    try:
        return next(iterator, None)
    finally:
        getattr(iterator, "close", lambda: None)()
