"""Both models on the same inputs, as a whole: outputs, and what training changes."""

import copy
from typing import Any

import jax
import numpy as np

from fx.interop.compare import _arrays, _error
from fx.interop.torch_arrays import is_tensor, tensor_array


def evaluation_error(found: Any, module: Any, inputs: tuple, kwargs: dict) -> float:
    """The largest relative difference of outputs in evaluation, the ported model compiled."""
    import torch

    mode = module.training
    module.eval()
    try:
        with torch.no_grad():
            theirs = _numbers(module(*inputs, **kwargs))
    finally:
        module.train(mode)
    apply = jax.jit(lambda params, state, arrays: _call(found, params, state, arrays)[0])
    with jax.default_matmul_precision("highest"):
        ours = apply(found.params, found.state, _here((inputs, kwargs)))
    return _error(_numbers(ours), theirs)[0]


def training(found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    """How outputs and new state in training compare: "equal", "random", or what differs."""
    import torch

    trained = copy.deepcopy(module).train()
    try:
        with torch.no_grad():
            theirs = _numbers(trained(*inputs, **kwargs))
    except (RuntimeError, ValueError) as error:
        return f"not run: {str(error).splitlines()[0]}"
    try:
        with jax.default_matmul_precision("highest"):
            run = jax.jit(lambda params, state, arrays: _call(found, params, state, arrays, True))
            outputs, state = run(found.params, found.state, _here((inputs, kwargs)))
    except NotImplementedError as error:
        return str(error)
    except ValueError as error:
        if "expected a key" in str(error):
            return "random"
        raise
    error, note = _error(_numbers(outputs), theirs)
    if error > found.tolerance:
        return f"outputs differ: error {error:.2g}" + f"; {note}" * bool(note)
    return _state(found, state, dict(trained.named_buffers()))


def _state(found: Any, state: dict, buffers: dict[str, Any]) -> str:
    from fx.nn.describe import flatten

    for path, value in flatten(state):
        name = ".".join(path)
        if name in buffers:
            error, _ = _error([np.asarray(value)], [tensor_array(buffers[name], "port")])
            if error > found.tolerance:
                return f"{name} differs afterwards: error {error:.2g}"
    return "equal"


def _call(found: Any, params: dict, state: dict, arrays: Any, train: bool = False) -> Any:
    inputs, kwargs = arrays
    return found.model.apply(params, state, *inputs, train=train, **kwargs)


def _here(tree: Any) -> Any:
    """Tensors as arrays, integers in JAX's width."""
    return jax.tree.map(
        lambda leaf: jax.numpy.asarray(tensor_array(leaf, "port")) if is_tensor(leaf) else leaf,
        tree,
        is_leaf=is_tensor,
    )


def _numbers(tree: Any) -> list[np.ndarray]:
    return [
        tensor_array(leaf, "port").copy() if is_tensor(leaf) else np.asarray(leaf)
        for leaf in _arrays(tree)
    ]
