"""Layers whose `inplace=True` changes an array that is read again: arrays here do not change.

In `x + self.block(x)`, with a `nn.ReLU(inplace=True)` first in the block, PyTorch adds what the
layer has made of x.
"""

import copy
from typing import Any

import numpy as np

from fx.interop.compare import _arrays, _error
from fx.interop.torch_arrays import tensor_array
from fx.porting.proof.modes import evaluating


def obstacles(module: Any, inputs: tuple, kwargs: dict, tolerance: float) -> list[str]:
    """A line for each layer without whose `inplace` the outputs in evaluation differ."""
    layers = [(name, part) for name, part in module.named_modules() if _changes(part)]
    before = _outputs(module, inputs, kwargs)
    found = []
    for name, part in layers:
        part.inplace = False
        try:
            error, _ = _error(_outputs(module, inputs, kwargs), before)
        finally:
            part.inplace = True
        if error > tolerance:
            found.append(
                f'"{name}": {type(part).__name__}(inplace=True) changes an array that is read '
                "again; to have PyTorch's numbers, let forward read what the layer returns"
            )
    return found


def _changes(part: Any) -> bool:
    return getattr(part, "inplace", False) is True


def _outputs(module: Any, inputs: tuple, kwargs: dict) -> list[np.ndarray]:
    """In evaluation, of copies of the inputs."""
    import torch

    with torch.no_grad(), evaluating(module):
        inputs, kwargs = copy.deepcopy((inputs, kwargs))
        outputs = module(*inputs, **kwargs)
    return [tensor_array(leaf, "port").copy() for leaf in _arrays(outputs)]
