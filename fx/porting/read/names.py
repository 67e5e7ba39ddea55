"""What a global name of a PyTorch file stands for, and what it is called in the ported one."""

import ast
import builtins
import logging
import re
import sys
import sysconfig
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fx.porting.pairs.table import SAME
from fx.porting.read.record import file_of, is_users, original, unscripted

DTYPES = {
    "float": "float32", "float32": "float32", "half": "float16", "float16": "float16",
    "bfloat16": "bfloat16", "double": "float64", "float64": "float64", "long": "int32",
    "int64": "int32", "int": "int32", "int32": "int32", "int16": "int16", "short": "int16",
    "int8": "int8", "uint8": "uint8", "bool": "bool_", "complex64": "complex64",
}  # fmt: skip
# Classes and functions that fx/porting/pairs/twins.py has in fx.
_TWINS = {
    "einops.layers.torch.Rearrange": "Rearrange", "einops.layers.torch.Reduce": "Reduce",
    "transformers.utils.generic.ModelOutput": "Output",
    "diffusers.utils.outputs.BaseOutput": "Output",
    "transformers.integrations.moe._grouped_mm": "grouped_mm",
    "torch.autograd.function.Function": "Function", "argparse.Namespace": "Namespace",
    "types.SimpleNamespace": "Namespace",
    "torch.ao.nn.quantized.modules.functional_modules.FloatFunctional": "FloatFunctional",
    "torch.distributions.normal.Normal": "Normal",
    "torch.distributions.categorical.Categorical": "Categorical",
    "torch.distributions.bernoulli.Bernoulli": "Bernoulli",
    "torch.distributions.independent.Independent": "Independent",
    "torch.distributions.kl.kl_divergence": "kl_divergence",
}  # fmt: skip
_STANDARD = sysconfig.get_paths()["stdlib"]
# What arrays and JAX's alike go through.
_IMPORTED = sys.stdlib_module_names | {"numpy", "scipy", "einops", "einx", "opt_einsum"}


class Obstacle(Exception):
    """What stands in the way of porting one place."""

    def __init__(self, node: Any, message: str):
        super().__init__(message)
        self.line, self.message = getattr(node, "lineno", 0), message


@dataclass
class Needs:
    """What the ported text refers to: definitions by identity, imports by the name they bind."""

    definitions: dict[int, tuple[str, Any, str]] = field(default_factory=dict)  # name, value, owner
    imports: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  # of all definitions, shared by all needs
    given: dict[int, str] = field(default_factory=dict)  # what their own files call them, likewise

    def define(self, key: int, name: str, value: Any, module: str) -> str:
        """Note that a definition is needed; returns its name, one of its own."""
        if key not in self.names:
            taken = set(self.names.values())
            tries = [name, _of_file(name, module), *(f"{name}{n}" for n in range(2, 100))]
            self.names[key] = next(each for each in tries if each not in taken)
            self.given[key] = name
        self.definitions[key] = (self.names[key], value, module)
        return self.names[key]

    def trial(self) -> "Needs":
        """Empty needs that give the same names."""
        return Needs(names=self.names, given=self.given)

    def add(self, other: "Needs") -> None:
        """Take over what another one has."""
        self.definitions |= other.definitions
        self.imports |= other.imports


def _of_file(name: str, module: str) -> str:
    """A name that another file has too, with its own file's in front."""
    file, word = module.rpartition(".")[2].strip("_"), name.lstrip("_")
    if name.isupper():
        return f"{file.upper()}_{word}"
    return f"{file.title().replace('_', '')}{name}" if word[:1].isupper() else f"{file}_{word}"


def renamed(text: str, given: str, name: str) -> str:
    """The text of a function or an assignment under another name than its file gives it."""
    if given == name:
        return text
    function = re.compile(rf"^def {re.escape(given)}\b", re.MULTILINE)
    if function.search(text):
        return function.sub(f"def {name}", text, 1)
    targets, equals, value = text.partition("=")
    return re.sub(rf"\b{re.escape(given)}\b", name, targets) + equals + value


def resolve(node: ast.expr, names: dict[str, Any], local: set[str]) -> tuple[bool, Any]:
    """What a name or a dotted name stands for, if it is global: (True, value)."""
    if isinstance(node, ast.Name):
        if node.id in local:
            return False, None
        if node.id in names:
            return True, original(unscripted(names[node.id]))
        return hasattr(builtins, node.id), getattr(builtins, node.id, None)
    if isinstance(node, ast.Attribute):
        known, owner = resolve(node.value, names, local)
        if node.attr == "apply" and known and is_function(owner):
            return False, None  # a twin's, under the name of the user's class
        if known and isinstance(owner, types.ModuleType | type) and hasattr(owner, node.attr):
            return True, original(unscripted(getattr(owner, node.attr)))
    return False, None


def is_function(value: Any) -> bool:
    """Whether a class is a torch.autograd.Function."""
    import torch

    return isinstance(value, type) and issubclass(value, torch.autograd.Function)


def applied(value: Any, needs: "Needs") -> str | None:
    """`Swish.apply`, whatever it is called where it stands; None for anything else."""
    owner = getattr(value, "__self__", None)
    if not is_function(owner):
        return None
    assert isinstance(owner, type)
    return f"{need(owner, owner.__name__, {}, owner.__module__, needs, None)}.apply"


def torch_name(value: Any) -> str | None:
    """The name in torch for one of its objects: "torch.cat", "nn.Linear", "F.relu"; or None."""
    import torch
    from torch.overrides import resolve_name

    if isinstance(value, types.ModuleType):
        inside = value.__name__.split(".")[0] == "torch"
        return value.__name__ if inside else None
    if is_function(getattr(value, "__self__", None)):
        return None  # `Swish.apply`, under a name of its own
    if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
        return str(value)
    module = getattr(value, "__module__", None) or ""
    owner = getattr(value, "__self__", None)
    if isinstance(owner, type) and owner.__module__.startswith("torch.nn.modules"):
        return f"nn.{owner.__name__}.{value.__name__}"  # nn.Embedding.from_pretrained
    if value is torch.Tensor:
        return "torch.Tensor"
    if isinstance(value, type) and module.split(".")[0] == "torch":
        return _short(f"{module}.{value.__qualname__}", value)
    outside = module and module.split(".")[0] not in ("torch", "builtins")
    if callable(value) and not isinstance(value, type) and not outside:
        found = _resolved(value, resolve_name)
        if found == "torch.spmm":
            found = "torch.mm"  # the two share one function
        if found:
            return _short(found, value)
        if module.split(".")[0] == "torch":
            return _static(value) or _short(f"{module}.{getattr(value, '__name__', '')}", value)
        for space in (torch, torch.jit, torch.fft, torch.linalg):
            word = getattr(value, "__name__", "")
            if word and getattr(space, word, None) is value:
                return f"{space.__name__}.{word}"
    return None


def _static(value: Any) -> str | None:
    """A layer's static method: "nn.Transformer.generate_square_subsequent_mask"."""
    import torch

    owner, _, word = getattr(value, "__qualname__", "").rpartition(".")
    held = vars(getattr(torch.nn, owner, object)).get(word) if owner else None
    is_it = isinstance(held, staticmethod) and held.__func__ is value
    return f"nn.{owner}.{word}" if is_it else None


def _resolved(value: Any, resolve_name: Any) -> str | None:
    try:
        return resolve_name(value)
    except TypeError:  # what is not hashable
        return None


def _short(name: str, value: Any) -> str:
    import torch
    import torch.nn.functional

    word = name.rpartition(".")[2]
    if getattr(torch.nn, word, None) is value:
        return f"nn.{word}"
    if getattr(torch.nn.functional, word, None) is value:
        return f"F.{word}"
    if name.startswith("torch.nn.init."):
        return f"nn.init.{word}"
    for space in ("torch.jit", "torch.fft", "torch.linalg", "torch.compiler", "torch.onnx"):
        if getattr(sys.modules.get(space), word, None) is value:
            return f"{space}.{word}"
    if getattr(torch, word, None) is value:
        return f"torch.{word}"
    return name.replace("torch.nn.functional.", "F.").replace("torch._C._nn.", "F.")


def _dimensions(*words: str) -> str:
    return f"({', '.join(f'nn.{word}{n}d' for word in words for n in (1, 2, 3))})"


_SEVERAL = {  # bases of torch's, of which one asks whether something is of one
    "torch.nn.modules.conv._ConvNd": _dimensions("Conv", "ConvTranspose"),
    "torch.nn.modules.conv._ConvTransposeNd": _dimensions("ConvTranspose"),
    "torch.nn.modules.batchnorm._BatchNorm": _dimensions("BatchNorm"),
    "torch.nn.modules.instancenorm._InstanceNorm": _dimensions("InstanceNorm"),
    "torch.nn.modules.batchnorm._NormBase": _dimensions("BatchNorm", "InstanceNorm"),
}


def translated(name: str) -> str | None:
    """What a name of torch that is no call becomes, None where there is nothing."""
    from fx import functional, nn

    head, _, word = name.rpartition(".")
    if name in ("torch.Tensor", "nn.Module", "nn.Parameter"):
        return "jax.Array" if name == "torch.Tensor" else name
    if head == "nn" and isinstance(getattr(nn, word, None), type):
        return name
    if head.startswith("nn.") and hasattr(getattr(nn, head[3:], None), word):
        return name
    if head == "F" and word in functional.__all__:
        return name
    if head == "torch" and word in DTYPES:
        return f"jnp.{DTYPES[word]}"
    if head == "torch" and word in ("sigmoid", "tanh", "relu", "softmax"):
        return f"F.{word}"
    if head == "torch" and (word in ("inf", "pi", "nan") or word in SAME.split()):
        return f"jnp.{word}"
    if name.startswith("torch.nn.utils."):
        return _utility(word, name)
    others = _SEVERAL | {
        "torch.Size": "tuple", "torch.FloatTensor": "jax.Array", "torch.nn": "nn",
        "torch.nn.functional": "F",
    }  # fmt: skip
    return others.get(name)


@dataclass(frozen=True)
class Twin:
    """A class or function of fx/porting/pairs/twins.py, by its name there."""

    name: str


def need_twin(name: str, needs: Needs) -> str:
    """Note that a name of fx/porting/pairs/twins.py is used; returns the one in the ported text."""
    return needs.define(hash(Twin(name)), name, Twin(name), "")


def twin(value: Any) -> str | None:
    """The name of the class in fx/porting/pairs/twins.py that stands for one of another library."""
    if isinstance(value, Twin):
        return value.name
    named = isinstance(value, type | types.FunctionType)
    owner = getattr(value, "__module__", None) if named else None
    return _TWINS.get(f"{owner}.{value.__qualname__}") if owner else None


def imported(module: str) -> bool:
    """Whether a module stays as it is: Python's own, and what takes JAX's arrays, too."""
    return module.split(".")[0] in _IMPORTED


def _utility(word: str, name: str) -> str | None:
    """Where fx.nn.utils has a name of torch.nn.utils."""
    from fx.nn import utils

    for space in ("rnn", "parametrizations", "parametrize"):
        if name == f"torch.nn.utils.{space}.{word}" and hasattr(getattr(utils, space), word):
            return f"nn.utils.{space}.{word}"
    return f"nn.utils.{word}" if word in utils.__all__ else None


def need(
    value: Any, name: str, file_names: dict[str, Any], module: str, needs: Needs, node: Any
) -> str:
    """Note that the ported text uses a global that is not torch's; returns its name there."""
    from fx.porting.read.sources import absolute, definition, source

    if isinstance(value, types.ModuleType):
        if imported(value.__name__):
            plain = f"import {value.__name__}"
            needs.imports[name] = plain if name == value.__name__ else f"{plain} as {name}"
            return name
        raise Obstacle(node, f"the module {value.__name__} is not part of the port")
    if name == "__name__" or getattr(builtins, name, ...) is value:
        return name
    owner = getattr(value, "__module__", None) or ""
    defined = isinstance(value, type | types.FunctionType) and value.__name__ != "<lambda>"
    if word := twin(value):
        return need_twin(word, needs)
    if owner.startswith("einops.layers.torch"):
        raise Obstacle(node, f"{owner}.{name} has no counterpart here; write it with jnp.einsum")
    users = is_users(file_of(value))
    bare = hasattr(value, "_fields") and definition(value) is None  # namedtuple("...")
    written = defined and users and not imported(owner) and not bare
    inner = "<locals>" in getattr(value, "__qualname__", "")  # `to_2tuple = _ntuple(2)`
    if written and not inner:
        return needs.define(id(value), value.__name__, value, owner)
    if isinstance(value, Mapping) and not isinstance(value, dict) and users:
        raise Obstacle(node, f"{name} is a registry: what it gives is known when it is asked")
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    bound = source(file).names.get(name) if file.endswith(".py") else None
    if isinstance(bound, tuple) and isinstance(bound[0], ast.ImportFrom):
        origin, real = absolute(module, bound[0]), bound[1].name
        if imported(origin):
            renamed = "" if name == real else f" as {name}"
            needs.imports[name] = f"from {origin} import {real}{renamed}"
            return name
        return (
            need(value, real, vars(sys.modules[origin]), origin, needs, node)
            if (origin in sys.modules and origin != module)
            else name
        )
    if defined and imported(owner):  # found by a function that imports
        root = owner.split(".")[0]
        origin = root if getattr(sys.modules[root], value.__name__, None) is value else owner
        renamed = "" if value.__name__ == name else f" as {name}"
        needs.imports[name] = f"from {origin} import {value.__name__}{renamed}"
        return name
    if bound is not None:
        return needs.define(hash((module, name)), name, value, module)
    if written:
        return needs.define(id(value), value.__name__, value, owner)
    if isinstance(value, logging.Logger):  # a loop or `globals()` gave it its name
        needs.imports["logging"] = "import logging"
        return f"logging.getLogger({value.name!r})"
    raise Obstacle(node, f"{name!r} is {value!r}, which has no definition that can be written")
