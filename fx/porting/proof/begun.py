"""The first values of weights, which constructors give them in place: as rules by name.

    self.apply(self._init_weights)      def build():
                                            model = GPT(Config())
                                            return nn.init.by_name(model, {"*.weight": ...})

Both models' weights are compared before training: those that are one number, and how far others
are spread.
"""

import math
import re
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np

from fx import nn
from fx.interop.state_dict import state_dict
from fx.nn import describe
from fx.porting.proof.execute import executed
from fx.porting.read import begun
from fx.porting.text.write import Written

_LEFT = "initial values are left out"
_MOST = 50_000_000  # numbers that are drawn to compare
_DEVIATIONS = 6


def begin(found: Any, module: Any, first: dict[int, Any]) -> None:
    """Give a port the initialisers that were seen; without its notes if no first values differ.

    Args:
        found: The port, which is changed: its source, its model and its notes.
        module: The PyTorch model as its constructor made it.
        first: What `fx.porting.read.begun` noted meanwhile.
    """
    declared = {leaf.name: leaf.declaration for leaf in describe.leaves(found.model)}
    rules = {
        name: text for name, text in begun.texts(first, module).items()
        if name in declared and _differs(text, declared[name].init)
    }  # fmt: skip
    if rules and (source := _with_rules(found.source, grouped(rules, [*declared]))):
        model = executed(Written(source, [], [], [], {})).build()
        found.source, found.model = source, model
    told = [note for note in found.notes if _LEFT in note]
    if not told and not first:
        return
    others = _others(found, module, begun.unknown(first, module))
    if others is not None and not others:
        found.notes = [note for note in found.notes if note not in told]
    elif others and not told:
        some = ", ".join(others[:3]) + ", ..." * (len(others) > 3)
        found.notes.append(f"{some}: {_LEFT}; write them as nn.init.by_name")


def _differs(text: str, declared: Any) -> bool:
    """Whether an initialiser is another one than what is declared, and one that fx takes."""
    try:
        return eval(text, {"nn": nn}) != declared
    except (TypeError, ValueError):  # what torch takes and fx does not
        return False


def grouped(rules: dict[str, str], names: list[str]) -> dict[str, str]:
    """Rules for the same parameters, with `*` for a number where what fits has one initialiser.

    >>> grouped({"h.0.w": "a", "h.1.w": "a", "g.0.w": "a"}, ["h.0.w", "h.1.w", "g.0.w", "g.1.w"])
    {'h.*.w': 'a', 'g.0.w': 'a'}
    """
    found: dict[str, str] = {}
    for name, text in rules.items():
        tries = [re.sub(r"(?<![^.])\d+(?![^.])", "*", name), name]
        for pattern in tries:
            if all(rules.get(n) == text for n in names if fnmatchcase(n, pattern)):
                found[pattern] = text
                break
    return found


def _with_rules(source: str, rules: dict[str, str]) -> str | None:
    """The file, whose `build` gives its model these initialisers; None of one without `nn`."""
    head, mark, made = source.rpartition("\n    return ")
    if "\nfrom fx import nn\n" not in source or not mark:
        return None
    pairs = "".join(f'        "{name}": {text},\n' for name, text in rules.items())
    made = f"{head}\n    model = {made.rstrip()}\n"
    return f"{made}    return nn.init.by_name(model, {{\n{pairs}    }})\n"


def _others(found: Any, module: Any, unknown: list[str]) -> list[str] | None:
    """Weights that begin otherwise here: of another number, or spread otherwise; None: too many.

    Of those of which no initialiser is known, all that are more than one number.
    """
    theirs = {name: value.detach().cpu().numpy() for name, value in module.named_parameters()}
    if sum(value.size for value in theirs.values()) > _MOST:
        return None
    try:
        params, state = jax.jit(found.model.init)(jax.random.key(0))
    except Exception as error:  # whatever an initialiser does not take
        said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        found.notes.append(f"first values were not compared: {said}")
        return None
    ours = {name: np.asarray(v) for name, v in state_dict(found.model, params, state).items()}
    return [
        name for name, value in theirs.items()
        if name not in ours or not _spread_alike(ours[name], value)
        or (name in unknown and np.ptp(value) > 0)
    ]  # fmt: skip


def _spread_alike(ours: np.ndarray, theirs: np.ndarray) -> bool:
    if not theirs.size:
        return True
    if theirs.size == 1 or np.ptp(theirs) == 0:
        same = np.allclose(ours, theirs, 1e-5, 1e-6)
        return bool(same) or (theirs.size == 1 and np.ptp(theirs) == 0 and bool(theirs.any()))
    if np.ptp(ours) == 0:
        return False
    here, there = (np.sqrt(np.mean(np.square(v, dtype=np.float64))) for v in (ours, theirs))
    return abs(math.log(here / there)) < _DEVIATIONS / math.sqrt(theirs.size) + 0.02
