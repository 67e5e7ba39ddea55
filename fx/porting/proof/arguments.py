"""What a model is given to run on, and what it returns."""

import contextlib
import inspect
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from fx.porting.proof import trial
from fx.porting.proof.modes import evaluating

OF_APPLY = {"train", "key", "capture", "perturb"}  # arguments that `apply` has itself


def caches(module: Any, signature: inspect.Signature, inputs: tuple, kwargs: dict) -> bool:
    """Whether a model takes `use_cache`, by name or for a part that it hands its keywords to."""
    if "use_cache" in signature.parameters:
        return True
    parts = [part for part in module.modules() if part is not module]
    parts = [part for part in parts if "use_cache" in inspect.signature(part.forward).parameters]
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if not parts or inspect.Parameter.VAR_KEYWORD not in kinds:
        return False
    import torch

    args, named = trial.copied((inputs, kwargs))
    try:
        with torch.no_grad(), evaluating(module):
            module(*args, **named, use_cache=False)
    except Exception:  # whatever it says to a keyword that it does not know
        return False
    return True


def fits(signature: inspect.Signature, inputs: tuple) -> bool:
    """Whether a forward takes so many inputs."""
    try:
        signature.bind_partial(*inputs)
    except TypeError:  # the model will say so
        return False
    return True


def by_position(signature: inspect.Signature, inputs: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """What is given under a name that `apply` has for itself, by position where that can be."""
    if kwargs.keys() & OF_APPLY:
        with contextlib.suppress(TypeError):  # the model will say so
            bound = signature.bind(*inputs, **kwargs)
            bound.apply_defaults()
            return bound.args, bound.kwargs
    return inputs, kwargs


def kinds(outputs: Any) -> set[type]:
    """The types of nested outputs."""
    parts: Any = outputs.values() if isinstance(outputs, dict) else outputs
    if is_dataclass(outputs):
        parts = vars(outputs).values()
    inner = parts if isinstance(outputs, dict | list | tuple) or is_dataclass(outputs) else ()
    return {type(outputs)}.union(*map(kinds, inner))


def check_numbers(outputs: Any) -> None:
    """Raise where outputs of PyTorch's are nowhere a number, which would be equal to anything.

    Raises:
        ValueError: all that is floating is nan.
    """
    floats = [each for each in trial.numbers(outputs) if each.dtype.kind in "fc" and each.size]
    if floats and all(np.isnan(each).all() for each in floats):
        raise ValueError(
            "fx.port: PyTorch's own outputs are nan throughout, so that nothing can be compared; "
            "give the weights values (those of torch.empty are any) or give other inputs"
        )
