"""Both models on inputs that the example did not have: other values, another batch size.

What a port took from the example, a number of pieces or a write that changed nothing, shows here.
Weights that are all 0, as last layers and gates often start, get other values: what stands before
them would be compared with nothing.
"""

import contextlib
import copy
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fx.interop.compare import _error
from fx.interop.state_dict import load_state_dict, state_dict
from fx.interop.torch_arrays import from_torch, is_tensor
from fx.porting.proof import aliased, trial

_WIDER = 3  # times the example's largest value is the deviation of other ones
_MORE = 10  # times the tolerance: other values may be less well conditioned


def compared(found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    """How outputs compare: "equal", what differs, or "" where one of both takes no other inputs.

    Args:
        found: The port.
        module: PyTorch's model, as it was before it ran.
        inputs: The example.
        kwargs: Its named part.
    """
    shaken, module = _shaken(found, module)
    lost = _lost(trial.evaluated(trial.duplicate(module), inputs, kwargs))
    example = [(inputs, kwargs)] if shaken is not found else []
    for given, named in itertools.chain(_others(inputs, kwargs), example):
        try:
            expected = trial.evaluated(trial.duplicate(module), given, named)
        except Exception:  # of PyTorch's: it wants indices in range, an order of lengths, one size
            continue
        if _lost(expected) > lost:
            continue  # out of a function's domain
        try:
            said = _on_these(shaken, given, named, expected)
            if said != "equal" and _are_equal_in_float64(shaken, module, given, named):
                return "equal"
            if said != "equal":
                found.obstacles += aliased.obstacles(module, given, named, found.tolerance)
            return said
        except Exception as error:  # whatever the written code raises
            first = (str(error).splitlines() or [""])[0]
            said = f"other inputs, which PyTorch takes, raise {type(error).__name__}: {first}"
            # What was assigned in forward is kept here, in the shape that the example gave it.
            kept = "to keep its shape" in first
            found.obstacles += [f"{said}; compute it where it is read"] * kept
            found.notes += [said] * (said not in found.notes and not kept)
            return ""
    return ""


def _shaken(found: Any, module: Any) -> tuple[Any, Any]:
    """Both models with other values for weights that are all 0."""
    import torch

    zeros = [n for n, p in module.named_parameters() if p.ndim > 1 and p.numel() and not p.any()]
    if not zeros:
        return found, module
    twin = trial.duplicate(module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in zeros:
            weight = twin.get_parameter(name)
            weight.copy_(torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5)
    ours = state_dict(found.model, found.params, found.state)
    places = {twin.get_parameter(name).data_ptr() for name in zeros}  # tied ones have one
    theirs = {n: v for n, v in twin.state_dict().items() if n in ours and v.data_ptr() in places}
    found = copy.copy(found)
    found.params = load_state_dict(found.model, {**ours, **from_torch(theirs)})[0]
    return found, twin


def _on_these(found: Any, inputs: tuple, kwargs: dict, expected: list) -> str:
    error, note = float("inf"), ""
    for ours, _ in trial.runs(found, inputs, kwargs):
        error, note = _error(trial.numbers(ours), expected)
        if error <= _MORE * found.tolerance:
            return "equal"
    return f"outputs differ: error {error:.2g}" + f"; {note}" * bool(note)


def _are_equal_in_float64(found: Any, module: Any, inputs: tuple, kwargs: dict) -> bool:
    with contextlib.suppress(Exception):  # whatever says that one of them is not for float64
        with trial.in_float64(found, module, inputs, kwargs) as (twin, double, args, named):
            expected = trial.evaluated(double, args, named)
            return _on_these(twin, args, named, expected) == "equal"
    return False


def _lost(outputs: list[np.ndarray]) -> float:
    """The share of what is not finite."""
    flags = [~np.isfinite(y) for y in outputs if y.dtype.kind in "fc"]
    return sum(flag.sum() for flag in flags) / max(1, sum(flag.size for flag in flags))


def _others(inputs: tuple, kwargs: dict) -> Iterator[tuple[tuple, dict]]:
    """Other inputs, the most different first."""
    leaves, form = jax.tree.flatten((inputs, kwargs), is_leaf=is_tensor)
    tensors = [leaf for leaf in leaves if is_tensor(leaf) and leaf.numel()]
    if not tensors:
        return
    rows = next((leaf.shape[0] for leaf in tensors if leaf.dim()), 0)
    for larger, longer in ((True, True), (False, True), (True, False), (False, False)):
        changed = [_changed(leaf, larger) if is_tensor(leaf) else leaf for leaf in leaves]
        if longer:
            changed = [_longer(leaf, rows) if is_tensor(leaf) else leaf for leaf in changed]
        yield form.unflatten(changed)
    same = [_longer(leaf, rows) if is_tensor(leaf) else leaf for leaf in leaves]
    yield form.unflatten(same)


def _changed(leaf: Any, larger: bool) -> Any:
    """Numbers of both signs, masks turned round; indices multiplied, or in reverse."""
    import torch

    leaf = leaf.detach()
    if leaf.dtype == torch.bool or _is_mask(leaf):
        return ~leaf if leaf.dtype == torch.bool else 1 - leaf
    if leaf.is_floating_point() and larger:
        draw = np.random.default_rng(0).standard_normal(tuple(leaf.shape))
        size = leaf.abs().max().nan_to_num(1.0, 1.0).clamp(min=1e-3, max=1e3)
        return torch.from_numpy(np.asarray(draw)).to(leaf.dtype) * size * _WIDER
    if larger and not leaf.is_complex():
        return leaf * 7 + 3
    return leaf.flatten().flip(0).reshape(leaf.shape)


def _is_mask(leaf: Any) -> bool:
    return not leaf.is_complex() and bool(((leaf == 0) | (leaf == 1)).all())


def _longer(leaf: Any, rows: int) -> Any:
    """With its first row again at the end, where its first axis is that of the batch."""
    import torch

    return torch.cat([leaf, leaf[:1]]) if leaf.dim() and leaf.shape[0] == rows else leaf
