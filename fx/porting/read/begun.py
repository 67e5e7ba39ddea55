"""How constructors gave weights their first values: by which initialiser of torch's, and with what.

nn.init.normal_(m.weight, std=0.02)        m.bias.data.zero_()        nn.init.xavier_uniform_(p)
"""

import inspect
import math
import re
from typing import Any

_CHANGES = re.compile(r"(?<!_)_$|^__(setitem|i\w+)__$")
_PLAIN = {"normal_": ("mean", "std"), "uniform_": ("a", "b"), "fill_": ("val",), "zero_": ()}
_FILLED = {"fill_": "constant_", "zero_": "zeros_"}
_OWN = {"from": "a", "to": "b", "value": "val"}


def note(first: dict[int, Any], func: Any, args: tuple, kwargs: dict, frame: Any) -> None:
    """Note a call that writes into a tensor: who last wrote all of it, by where its numbers lie.

    What is noted, in `first`, by address: the tensor, the initialiser's name, and its arguments; no
    name where something else wrote. What layers do by themselves is not in it.
    """
    import torch

    name = getattr(func, "__name__", "")
    by_name = getattr(func, "__module__", "") == "torch.nn.init"
    if not by_name and not (_CHANGES.search(name) and args):
        return
    outermost, users = _around(frame)
    if by_name or outermost is not None:
        given = _bound(func, args, kwargs) if outermost is None else _locals(outermost)
        said = name if outermost is None else outermost.f_code.co_name
    else:
        words = _PLAIN.get(name)
        given = {"tensor": args[0], **{_OWN.get(k, k): v for k, v in kwargs.items()}}
        given |= dict(zip(words or (), args[1:]))
        said = _FILLED.get(name, name) if words is not None else None
    tensor = given.pop("tensor", None)
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided:
        return
    if not users:  # a layer's own `reset_parameters`
        first.pop(tensor.untyped_storage().data_ptr(), None)
        return
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    first[tensor.untyped_storage().data_ptr()] = tensor, said if whole else None, given


def _around(frame: Any) -> tuple[Any, bool]:
    """The outermost call of torch.nn.init around a call, and whether a user's code made it."""
    import torch

    folder = torch.__file__.rpartition("/")[0]
    outermost = None
    while frame is not None and frame.f_code.co_filename.startswith(folder):
        file = frame.f_code.co_filename.removeprefix(folder)
        if file == "/nn/init.py":
            outermost = frame
        elif file.startswith("/nn/"):
            return outermost, False
        frame = frame.f_back
    return outermost, True


def _bound(func: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    return dict(inspect.signature(func).bind(*args, **kwargs).arguments)


def _locals(frame: Any) -> dict[str, Any]:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return {name: frame.f_locals[name] for name in names if name in frame.f_locals}


def texts(first: dict[int, Any], module: Any) -> dict[str, str]:
    """The initialisers of a model's weights as source, by the weights' names."""
    found = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        noted = first.get(parameter.untyped_storage().data_ptr())
        if noted and (text := _text(*noted[1:])):
            found[name] = text
    return found


def _text(name: str | None, given: dict[str, Any]) -> str | None:
    """`nn.init.normal(std=0.02)`; None where fx has none, or an argument is no number."""
    from fx.nn import init

    if name is None or name.startswith("_"):
        return None
    function = getattr(init, name.removesuffix("_"), None)
    given = {word: _number(value) for word, value in given.items() if word != "generator"}
    if function is None or None in given.values():
        return None
    if name == "constant_":
        word = {0: "zeros", 1: "ones"}.get(given["val"])
        return f"nn.init.{word}" if word else f"nn.init.constant({given['val']!r})"
    if name in ("zeros_", "ones_", "eye_"):
        return f"nn.init.{name[:-1]}"
    words = inspect.signature(function).parameters
    if not given.keys() <= words.keys():
        return None
    said = [f"{word}={value!r}" for word, value in given.items() if value != words[word].default]
    return f"nn.init.{name[:-1]}({', '.join(said)})"


def _number(value: Any) -> Any:
    """A number of Python's, for NumPy's too; None for what has no form in source."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, int | str) else None


def unknown(first: dict[int, Any], module: Any) -> list[str]:
    """The weights that something else wrote last: a part of them, or what was computed of them."""
    noted = {
        name: first.get(parameter.untyped_storage().data_ptr())
        for name, parameter in module.named_parameters()
    }
    return [name for name, said in noted.items() if said and not _text(*said[1:])]
