"""What a live module of PyTorch says of itself: its class, its arguments, its attributes."""

import dis
import inspect
import keyword
import types
from collections.abc import Mapping
from typing import Any

from fx.porting.read.names import Obstacle, torch_name

_NORM = "torch.nn.modules.batchnorm"


def torch_base(kind: type) -> str:
    """The nearest class of torch that a class of modules comes from: "nn.Conv2d"."""
    base = next(k for k in kind.__mro__ if k.__module__.split(".")[0] == "torch")
    return of_any_size(base) or torch_name(base) or base.__name__


def of_any_size(kind: type) -> str | None:
    """The layer for torch's `_BatchNorm`, which a class of the user's may be on."""
    return "nn.SyncBatchNorm" if torch_name(kind) == f"{_NORM}._BatchNorm" else None


def inherited(base: str) -> set[str]:
    """The attributes that a layer of fx.nn has by itself."""
    from fx import nn

    return stored(getattr(nn, base[3:]))


def stored(kind: type) -> set[str]:
    """The attributes that the constructors of a class assign."""
    rest = [vars(k).get("__init__") for k in kind.__mro__]
    found: set[str] = set()
    looked: set[Any] = set()
    while rest:  # constructors, and the methods and functions of their file that they call
        function = rest.pop()
        if not isinstance(function, types.FunctionType) or function in looked:
            continue
        looked.add(function)
        found |= {i.argval for i in dis.get_instructions(function) if i.opname == "STORE_ATTR"}
        for word in function.__code__.co_names:
            rest += [*(vars(k).get(word) for k in kind.__mro__), function.__globals__.get(word)]
    return found


def held_apart(value: Any) -> bool:
    """Whether an attribute is a module, or a list, tuple or dict with modules in it."""
    import torch

    inner = value.values() if isinstance(value, dict) else value
    several = isinstance(value, list | tuple | dict) and any(map(held_apart, inner))
    return several or isinstance(value, torch.nn.Module)


def chosen(module: Any, path: str) -> str:
    """The method of its own that an object has for its forward."""
    if "forward" not in vars(module):
        return "forward"
    method = vars(module)["forward"]
    name = getattr(method, "__name__", "")
    own = getattr(type(module), name, None)
    if own is None or getattr(method, "__func__", None) is not own or method.__self__ is not module:
        raise Obstacle(None, f'"{path}": its forward was replaced on the object')
    return name


def argument(module: Any, base: str, name: str, default: Any) -> Any:
    """The value that a layer's constructor was given under a name."""
    if base in ("nn.TransformerEncoderLayer", "nn.TransformerDecoderLayer"):
        found = {
            "d_model": lambda: module.self_attn.embed_dim,
            "nhead": lambda: module.self_attn.num_heads,
            "dim_feedforward": lambda: module.linear1.out_features,
            "dropout": lambda: module.dropout.p,
            "layer_norm_eps": lambda: module.norm1.eps,
            "batch_first": lambda: module.self_attn.batch_first,
            "bias": lambda: module.linear1.bias is not None,
        }
        if name in found:
            return found[name]()
    if base == "nn.Transformer" and name.startswith("num_"):
        return len(module.encoder.layers if "encoder" in name else module.decoder.layers)
    if base == "nn.Transformer" and name not in ("d_model", "nhead", "batch_first"):
        layers = [*module.encoder.layers, *module.decoder.layers]
        own = name not in ("custom_encoder", "custom_decoder") and layers
        return argument(layers[0], "nn.TransformerEncoderLayer", name, default) if own else default
    if base == "nn.MultiheadAttention":
        if name in ("kdim", "vdim"):
            value = getattr(module, name)
            return None if value == module.embed_dim else value
        if name == "bias":
            return module.in_proj_bias is not None
        if name == "add_bias_kv":
            return module.bias_k is not None
    if name == "bias" and not isinstance(getattr(module, "bias", None), bool):
        if not hasattr(module, "bias"):
            return default
        return (
            module.bias is not None
            or not getattr(module, "affine", True)
            or not getattr(module, "elementwise_affine", True)
        )
    return getattr(module, name, default)


def before_the_rest(parameters: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What stands before `*args` in a call that has some: it is given by position."""
    kinds = [parameter.kind for parameter in parameters.values()]
    if not given[""] or inspect.Parameter.VAR_POSITIONAL not in kinds:
        return {}
    names = [*parameters][: kinds.index(inspect.Parameter.VAR_POSITIONAL)]
    return {name: given[name] for name in names if name in given}


def nameable(name: str) -> bool:
    """Whether an attribute can be an argument of a constructor: "0" cannot."""
    return name.isidentifier() and not keyword.iskeyword(name)


def one(value: Any) -> Any:
    """The number that a tuple repeats."""
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[0]
    return value


def plain(module: Any) -> dict[str, Any]:
    """Attributes that are neither parts nor torch's own."""
    own = {"training", "T_destination", "dump_patches", "call_super_init"}
    return {n: v for n, v in vars(module).items() if n not in own and not n.startswith("_")} | {
        n: v for n, v in vars(module).items() if n.startswith("_") and not _torchs(n)
    }


def _torchs(name: str) -> bool:
    import torch

    return name in vars(torch.nn.Module()) or name in (
        "_is_full_backward_hook",
        "_is_hf_initialized",
    )


def tensors(value: Any) -> dict[str, Any]:
    """The tensors of a list, tuple or dict of nothing else, by name."""
    import torch

    pairs = enumerate(value) if isinstance(value, list | tuple) else ()
    named = {str(key): each for key, each in (value.items() if type(value) is dict else pairs)}
    return named if all(isinstance(each, torch.Tensor) for each in named.values()) else {}


def spectral(hook: Any) -> list:
    """The arguments of the older spectral_norm that are not its defaults."""
    defaults = {"name": "weight", "n_power_iterations": 1, "eps": 1e-12, "dim": 0}
    given = {name: getattr(hook, name) for name in defaults}
    return [(f"{n}=", repr(value)) for n, value in given.items() if value != defaults[n]]


def same(value: Any, default: Any) -> bool:
    """Whether an argument is the default; what cannot be compared is not."""
    try:
        return value is default or (type(value) is type(default) and bool(value == default))
    except (RuntimeError, ValueError):
        return False


def tables(module: Any) -> dict[int, list[int]]:
    """The lists and dicts of tensors that parts hold before a forward runs, and what is in them."""
    values = [value for part in module.modules() for value in vars(part).values()]
    return {id(value): [*map(id, tensors(value).values())] for value in values if tensors(value)}
