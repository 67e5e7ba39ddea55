"""Both models' gradients: outputs do not say what a model stops, or does in a `backward`."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.interop.compare import _arrays
from fx.interop.state_dict import state_dict
from fx.interop.torch_arrays import is_tensor, tensor_array
from fx.porting.proof import trial
from fx.porting.read.record import Record, watch


def watched(module: Any, inputs: tuple, kwargs: dict, record: Record) -> tuple | None:
    """PyTorch's gradients, `backward` noted, where a function with one of its own was seen.

    torch runs `backward` outside of the mode that notes calls, so it is put into it here.
    """
    from torch.autograd.function import FunctionCtx

    kinds = {kind for seen in record.locals.values() for kind in seen}
    functions = [k._forward_cls for k in kinds if issubclass(k, FunctionCtx)]
    owners = [next(k for k in f.__mro__ if "backward" in vars(k)) for f in functions]
    before = {owner: vars(owner)["backward"] for owner in owners}
    for function, backward in before.items():

        def noted(*args: Any, backward: Any = backward.__func__) -> Any:
            return watch(lambda: backward(*args), record)

        function.backward = staticmethod(noted)
    try:
        return theirs(module, inputs, kwargs) if functions else None
    finally:
        for function, backward in before.items():
            function.backward = backward


def theirs(module: Any, inputs: tuple, kwargs: dict) -> tuple[dict[str, Any], list[Any]]:
    """PyTorch's, of a weighted sum of all outputs: by what is trained, and to each float input.

    Where PyTorch takes none to the inputs, as they are written into, there are those of weights.
    """
    try:
        return _theirs(module, inputs, kwargs, True)
    except RuntimeError as error:  # `x /= std` of an input, which asks for no gradient in training
        if "modified by an inplace operation" not in str(error):
            raise
        return _theirs(module, inputs, kwargs, False)


def _theirs(module: Any, inputs: tuple, kwargs: dict, of_inputs: bool) -> tuple[dict, list]:
    import torch

    twin = trial.separate(module).train().eval()  # some empty their caches when they train
    leaves, form = jax.tree.flatten((inputs, kwargs), is_leaf=is_tensor)
    leaves = [leaf.clone().detach() if is_tensor(leaf) else leaf for leaf in leaves]
    floats = [leaf for leaf in leaves if is_tensor(leaf) and leaf.is_floating_point() and of_inputs]
    for leaf in floats:
        leaf.requires_grad_()
    with torch.enable_grad():
        args, named = trial.copied(form.unflatten(leaves), detached=False)
        outputs = [y for y in _arrays(twin(*args, **named)) if y.is_floating_point()]
        outputs = [y.to(torch.promote_types(y.dtype, torch.float32)) for y in outputs]
        weights = [torch.from_numpy(_weights(y)).to(y.dtype) for y in outputs]
        total = sum(((y * w).sum() for y, w in zip(outputs, weights)), torch.zeros(()))
        if total.requires_grad:
            total.backward()
    weights = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    return {n: _or_zeros(p) for n, p in weights.items()}, [_or_zeros(leaf) for leaf in floats]


def _or_zeros(leaf: Any) -> Any:
    """Its gradient, zeros where it has none."""
    if leaf.grad is None:
        return leaf.new_zeros(leaf.shape)
    return leaf.grad.to_dense() if leaf.grad.is_sparse else leaf.grad.clone()


def compared(found: Any, arrays: list, joined: Any, expected: tuple[dict, list]) -> str:
    """How the gradients compare: "equal", or which differs.

    JAX's of complex weights are the conjugates of PyTorch's.

    Args:
        found: The port.
        arrays: Those among the arguments.
        joined: Puts arrays in their places among the arguments.
        expected: What `theirs` gave.
    """
    places = [n for n, array in enumerate(arrays) if jnp.issubdtype(array.dtype, jnp.floating)]
    places = places if expected[1] else []

    def total(params: dict, floats: list) -> jax.Array:
        given = list(arrays)
        for place, array in zip(places, floats):
            given[place] = array
        inputs, kwargs = joined(given)
        outputs, _ = found.model.apply(params, found.state, *inputs, **kwargs)
        parts = [y for y in _arrays(outputs) if jnp.issubdtype(y.dtype, jnp.floating)]
        parts = [y if jnp.finfo(y.dtype).bits >= 32 else y.astype(jnp.float32) for y in parts]
        sums = [(y * _weights(y).astype(y.dtype)).sum() for y in parts]
        return functools.reduce(jnp.add, sums) if sums else jnp.zeros(())

    floats = [arrays[place] for place in places]
    said = ""
    for params, inputs in trial.compiled(jax.grad(total, (0, 1)), found.params, floats):
        said = _differing(found, params, inputs, expected)
        if said == "equal":
            break
    return said


def _differing(found: Any, params: dict, inputs: list, expected: tuple[dict, list]) -> str:
    """Which gradient differs, or "equal"."""
    named = state_dict(found.model, params)
    pairs = [(name, named[name], grad) for name, grad in expected[0].items()]
    pairs += [(f"input {n}", *pair) for n, pair in enumerate(zip(inputs, expected[1], strict=True))]
    given = [(name, np.conj(np.asarray(ours)), tensor_array(grad, "port"))
             for name, ours, grad in pairs]  # fmt: skip
    largest = max((_size(grad) for *_, grad in given), default=0.0)
    for name, ours, grad in given:
        # What is 0 but for rounding, a bias before a softmax, is held to the others.
        error = _size(ours - grad) / (max(_size(grad), largest * 1e-3) or 1.0)
        if not np.array_equal(np.isfinite(ours), np.isfinite(grad)):
            return f"the gradient to {name} is finite in one of them alone"
        if error > 10 * found.tolerance:
            return f"the gradient to {name} differs: error {error:.2g}"
    return "equal"


def compared_in_float64(found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    """How gradients compare where rounding to float32 says nothing: a deep model may enlarge it.

    Raises:
        RuntimeError: PyTorch's model does not run in float64.
    """
    with trial.in_float64(found, module, inputs, kwargs) as (twin, double, *given):
        return compared(twin, *trial.arguments(*given), theirs(double, *given))


def _weights(outputs: Any) -> np.ndarray:
    """What a gradient is taken of is the outputs times these, so that no part cancels another."""
    count = math.prod(outputs.shape)
    return np.cos(np.arange(count, dtype=np.float32)).reshape(outputs.shape)


def _size(array: np.ndarray) -> float:
    """The largest magnitude of what is finite."""
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))
