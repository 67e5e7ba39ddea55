"""Training and evaluation of a PyTorch model, and what else a comparison must leave as it was."""

import contextlib
import random
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fx.porting.read.live import plain
from fx.porting.read.record import file_of, is_users


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """A model is in evaluation; afterwards each part is in the mode that it was in."""
    whole, before = module.training, [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        module.train(whole)
        for part, mode in before:
            part.training = mode


@contextlib.contextmanager
def undisturbed(module: Any) -> Iterator[None]:
    """The random numbers that come next are those that would have come, modes are as they were."""
    import torch

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        for part, mode in modes:
            part.training = mode


def notes(module: Any) -> list[str]:
    """Notes on parts in a mode of their own, which follow the whole here, and on hooks."""
    named = [name for name, part in module.named_modules() if part.training != module.training]
    some = ", ".join(named[:3]) + ", ..." * (len(named) > 3)
    said = "in another mode than the whole, which they follow here; nn.eval_mode(part) keeps one"
    found = [f"{some}: {said} in evaluation"] if named else []
    hooked = [name or "the whole" for name, part in module.named_modules() if _hooks(part)]
    some = ", ".join(hooked[:3]) + ", ..." * (len(hooked) > 3)
    said = "has hooks, which nothing calls here; apply's capture= returns what parts give"
    return found + [f"{some}: {said}"] * bool(hooked)


def _hooks(part: Any) -> list[Any]:
    """The hooks of a part that are not torch's own."""
    kinds = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
    hooks = [hook for kind in kinds for hook in getattr(part, kind).values()]
    owners = [getattr(hook, "__module__", None) or type(hook).__module__ for hook in hooks]
    return [hook for hook, owner in zip(hooks, owners) if not owner.startswith("torch.")]


def obstacles(module: Any, source: str, duplicate: Callable) -> list[str]:
    """Lines on what PyTorch does in training beside a forward, and the port would not do.

    Hooks of weights change gradients; weights in one memory are one in a step of the optimizer; a
    `train` that changes what forward reads.
    """
    import torch

    found, seen = [], {}
    for name, weight in module.named_parameters():
        if getattr(weight, "_backward_hooks", None):
            said = "a hook changes its gradient, which nothing does here; mask it in the optimizer"
            found.append(f'"{name}": {said}, or give forward weight * mask')
        if weight.numel() and weight.layout == torch.strided:
            first = weight.data_ptr()
            last = sum((n - 1) * step for n, step in zip(weight.shape, weight.stride()))
            seen[name] = first, first + (last + 1) * weight.element_size()
    ordered = sorted(seen.items(), key=lambda each: each[1])
    for (name, (_, end)), (other, (start, _)) in zip(ordered, ordered[1:]):
        if start < end:
            said = "share memory, so that PyTorch trains them as one; make them one parameter"
            found.append(f'"{name}" and "{other}" {said} in PyTorch')
    return found + _changed(module, source, duplicate)


def _changed(module: Any, source: str, duplicate: Callable) -> list[str]:
    """Lines on attributes that a `train` of the user's changes, and the written code reads."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    own = [vars(kind).get("train") for kind in kinds if is_users(file_of(kind))]
    if not any(isinstance(each, types.FunctionType) for each in own):
        return []
    copy, lines = duplicate(module), []
    if copy is module:
        return []  # there is none, and a `train` may change weights
    trained = {(name, word): value for name, word, value in _plain(copy.train())}
    for name, word, value in _plain(copy.eval()):
        before = trained.get((name, word), value)
        if type(before) is type(value) and before != value and re.search(rf"\.{word}\b", source):
            said = f"its train makes {word} {before!r} in training, and {value!r} in evaluation"
            lines.append(f'"{name}": {said}, which forward reads; ask for self.training there')
    return lines


def _plain(module: Any) -> Iterator[tuple[str, str, Any]]:
    """The numbers, flags and words that parts hold: the part's name, the attribute's, the value."""
    for name, part in module.named_modules():
        for word, value in plain(part).items():
            if isinstance(value, bool | int | float | str):
                yield name, word, value
