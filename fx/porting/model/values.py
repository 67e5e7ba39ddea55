"""Instances of types as source: dataclasses, named tuples, partial functions, dicts."""

import dataclasses
import functools
import sys
from typing import Any

import numpy as np

from fx.interop.torch_arrays import is_tensor
from fx.porting.model.numbers import literal
from fx.porting.pairs import rules
from fx.porting.read.live import same
from fx.porting.read.names import Obstacle, need, need_twin, torch_name, twin

_SMALL = 64  # numbers that are written out


def of_dataclass(tree: Any, value: Any) -> str:
    """An instance of one of the user's dataclasses, defaults left out."""
    given = [
        f"{f.name}={tree.text(getattr(value, f.name))}"
        for f in dataclasses.fields(value)
        if f.init and not same(getattr(value, f.name), f.default)
    ]
    return f"{_kind(tree, value)}({', '.join(given)})"


def of_kind(tree: Any, value: Any) -> str | None:
    """A dict, what has a twin in fx, a `partial`, or an array; None of any other kind."""
    if isinstance(value, dict):
        return of_dict(tree, value)
    if twin(type(value)):
        return of_twin(tree, value)
    if isinstance(value, functools.partial):
        return of_partial(tree, value)
    if is_tensor(value) and not value.requires_grad:
        value = value.numpy(force=True)
    if isinstance(value, np.ndarray) and tree.constructed is not None:
        return of_array(tree, value)
    return None


def of_array(tree: Any, value: np.ndarray) -> str | None:
    """A short array of NumPy's that a constructor is given: widths of layers, say."""
    said = literal(value.tolist()) if value.size <= _SMALL and value.dtype.kind in "biuf" else None
    if said is None:
        return None
    tree.needs.imports["np"] = "import numpy as np"
    usual = value.dtype in (np.dtype(int), np.dtype(float), np.dtype(bool))
    return f"np.array({said}{'' if usual else f', np.{value.dtype}'})"


def of_partial(tree: Any, value: Any) -> str:
    """A `functools.partial`; keywords of torch's functions have their names here."""
    tree.needs.imports["partial"] = "from functools import partial"
    renamed = rules.function(torch_name(value.func) or "") or ("", {})
    given = [tree.text(value.func), *map(tree.text, value.args)]
    given += [f"{renamed[1].get(k, k)}={tree.text(v)}" for k, v in value.keywords.items()]
    return f"partial({', '.join(given)})"


def named_tuple(tree: Any, value: Any) -> str:
    """A named tuple, whose type a module has under a name that may be another one."""
    kind = type(value)
    names = vars(sys.modules[kind.__module__])
    word = next((word for word, each in names.items() if each is kind), None)
    if word is None:
        raise Obstacle(None, f"the type {kind.__name__} has no global name")
    name = need(kind, word, names, kind.__module__, tree.needs, None)
    given = (f"{field}={tree.text(getattr(value, field))}" for field in value._fields)
    return f"{name}({', '.join(given)})"


def of_enum(tree: Any, value: Any) -> str:
    """A member of an enumeration."""
    kind = type(value)
    return f"{need(kind, kind.__name__, {}, kind.__module__, tree.needs, None)}.{value.name}"


def of_twin(tree: Any, value: Any) -> str:
    """An instance of a class that fx/porting/pairs/twins.py has in fx."""
    given = vars(value)
    if type(value).__module__.startswith("torch.distributions"):
        given = {name: given[name] for name in ("loc", "scale", "probs", "logits") if name in given}
        given = {name: _number(value, each) for name, each in given.items()}
    name = need_twin(str(twin(type(value))), tree.needs)
    return f"{name}({', '.join(f'{k}={tree.text(v)}' for k, v in given.items())})"


def _number(owner: Any, value: Any) -> float:
    """The number that a distribution has."""
    if value.numel() != 1:
        said = f"a {type(owner).__name__} of more than a number that a part holds has no form in"
        raise Obstacle(None, f"{said} source; make it in forward")
    return value.item()


def of_dict(tree: Any, value: dict) -> str:
    """A dict; one that has its entries as attributes, too, as a namespace that has them so."""
    names = [key for key in value if isinstance(key, str) and key.isidentifier()]
    own = type(value) is not dict and len(names) == len(value) > 0
    if own and all(getattr(value, name, None) is value[name] for name in names):
        given = ", ".join(f"{name}={tree.text(value[name])}" for name in names)
        return f"{need_twin('Namespace', tree.needs)}({given})"
    pairs = (f"{tree.text(k)}: {tree.text(v)}" for k, v in value.items())
    return f"{{{', '.join(pairs)}}}"


def _kind(tree: Any, value: Any) -> str:
    """The name of a value's class in the ported text."""
    kind = type(value)
    return need(kind, kind.__name__, {}, kind.__module__, tree.needs, None)
