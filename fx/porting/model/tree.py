"""A live PyTorch model as the expression that makes its fx twin, part by part."""

import dataclasses
import enum
import inspect
import sys
import types
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fx.porting.model import bound, numbers, objects, values
from fx.porting.model.bound import Bound
from fx.porting.model.computed import normed, parametrized
from fx.porting.model.layout import Made
from fx.porting.pairs import rules
from fx.porting.read import closures, live
from fx.porting.read.live import (
    argument,
    before_the_rest,
    chosen,
    held_apart,
    inherited,
    nameable,
    one,
    same,
    tensors,
    torch_base,
)
from fx.porting.read.names import (
    DTYPES,
    Needs,
    Obstacle,
    applied,
    need,
    need_twin,
    torch_name,
    translated,
    twin,
)

SIZES = ("kernel_size", "stride", "padding", "dilation", "output_padding")
SKIPPED = {"device", "dtype", "inplace", "_weight", "_freeze", "_random_samples"}
SKIPPED |= {"enable_nested_tensor", "mask_check", "size_average", "reduce", "init"}
CONTAINERS = ("nn.Sequential", "nn.ModuleList", "nn.ModuleDict")


@dataclass
class Tree:
    """What is found while a tree is written.

    Attributes:
        used: The attributes that the written code reads.
        constructed: The arguments of the user's constructors, where these are kept.
        attributes: For each of the user's classes, the attributes that its parts are given.
        saved: Buffers outside of `state_dict` in torch, which are loaded like the others here.
        ties: Pairs of dotted names that share weights.
        scratch: Attributes that live for one call, and whether they are None before.
    """

    used: set[str]
    constructed: dict[int, tuple[Any, dict[str, Any], dict[str, Any]]] | None = None
    needs: Needs = field(default_factory=Needs)
    attributes: dict[type, list[str]] = field(default_factory=dict)
    held: Counter[tuple[type, str]] = field(default_factory=Counter)  # parts that have one
    empty: set[tuple[type, str]] = field(default_factory=set)  # where a part has None
    parts: Counter[type] = field(default_factory=Counter)
    saved: dict[str, Any] = field(default_factory=dict)
    forwards: dict[type, set[str]] = field(default_factory=dict)  # which methods are called
    ties: list[tuple[str, str]] = field(default_factory=list)
    scratch: dict[str, bool] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)  # names that have a _ here: a module's own
    notes: list[str] = field(default_factory=list)
    seen: dict[int, str] = field(default_factory=dict)
    registered: set[int] = field(default_factory=set)  # the root's parts
    tables: dict[int, list[int]] = field(default_factory=dict)  # lists of tensors before it ran
    objects: dict[int, tuple[str, str]] = field(default_factory=dict)  # settings: name and text
    names: dict[type, set[str]] = field(default_factory=dict)  # what objects of a class are called
    bound: Bound = field(default_factory=Bound)

    def make(self, module: Any, path: str = "") -> Made:
        """The expression that makes a module.

        Raises:
            Obstacle: a part has no counterpart.
        """
        self._share(module, path)
        kind = type(module)
        base = torch_base(kind)
        self.forwards.setdefault(kind, set()).add(chosen(module, path))
        if hasattr(module, "parametrizations"):
            return parametrized(self, module, path)
        if twin(kind) and kind.__module__.split(".")[0] == "torch":
            return Made(f"{need_twin(str(twin(kind)), self.needs)}(")
        if translated(base) is None or base.startswith("torch."):
            raise Obstacle(None, f'{base} ("{path}") has no counterpart here')
        if kind.__module__.split(".")[0] == "torch":
            return objects.marked(
                self, module, normed(module, self._layer(module, base, base, path), path)
            )
        name = need(kind, kind.__name__, {}, kind.__module__, self.needs, None)
        if self.constructed is not None:
            if kind.__init__.__module__.startswith("torch.") and base != "nn.Module":
                return normed(module, self._layer(module, base, name, path), path)
            return self.constructor_call(module, name)
        if twin(kind):
            return objects.of_einops(module, name)
        if base == "nn.Module":
            made, own = Made(f"{name}("), set()
        else:
            made = self._layer(module, base, name, path)
            own = inherited(base)
        self._give(module, made, own, path)
        return normed(module, made, path)

    def constructor_call(self, module: Any, name: str) -> Made:
        """The call of a constructor as it was seen, defaults left out."""
        assert self.constructed is not None
        if type(module).__init__ is module_type().__init__:
            return Made(f"{name}(")
        if id(module) not in self.constructed:
            raise Obstacle(None, f"the constructor of {name} was not seen")
        _, given, _ = self.constructed[id(module)]
        defaults = inspect.signature(type(module).__init__).parameters
        first = before_the_rest(defaults, given)
        made = Made(f"{name}(", [("", self.value(v)) for v in [*first.values(), *given[""]]])
        for key, value in given.items():
            known = defaults.get(key)
            if key and key not in first and not (known is not None and same(value, known.default)):
                made.args.append((f"{key}=", self.value(value)))
        return made

    def _layer(self, module: Any, base: str, name: str, path: str) -> Made:
        """A layer of torch.nn, or the part of a subclass that is one."""
        if base == "nn.Module":
            return self._bare(module, path)
        if base == "nn.ParameterList" and module._modules and not module._parameters:
            base = name = "nn.ModuleList"  # of lists of parameters
        if base in CONTAINERS:
            return self._container(module, base, name, path)
        if base in ("nn.ParameterList", "nn.ParameterDict"):
            return self._tensors(module, module._parameters, path)
        if base == "nn.TransformerEncoder":
            args: list = [("", self.make(module.layers[0], f"{path}.layers.0"))]
            args.append(("", str(len(module.layers))))
            if module.norm is not None:
                args.append(("norm=", self.make(module.norm, f"{path}.norm")))
            return Made(f"{name}(", args)
        arguments = self._arguments(module, base, name == base)
        return Made(f"{name}(", [(before, text) for before, text in arguments])

    def _bare(self, module: Any, path: str) -> Made:
        """`nn.Module()` by itself, which parts were given to: their names can be read of a dict."""
        others = {**live.plain(module), **module._parameters, **module._buffers}
        if not others:
            return self._container(module, "nn.ModuleDict", "nn.ModuleDict", path)
        made = Made(f"{need_twin('Parts', self.needs)}(")
        for name, value in {**others, **module._modules}.items():
            part = self._part(module, name, value, f"{path}.{name}".lstrip("."))
            made.args.append((f"{name}=", part))
        return made

    def _container(self, module: Any, base: str, name: str, path: str) -> Made:
        children = module._modules.items()
        numbered = [key for key, _ in children] == [str(i) for i in range(len(children))]
        if base == "nn.ModuleList" and not numbered:
            if name == base:
                raise Obstacle(None, f'"{path}": a ModuleList with gaps')
            return Made(f"{name}(")  # of the user's: its parts are given by name
        parts = [(key, "None" if child is None else self.make(child, f"{path}.{key}".lstrip(".")))
                 for key, child in children]  # fmt: skip
        if base == "nn.ModuleDict" or not numbered:
            return Made(f"{name}(", [("", Made("{", [(f'"{k}": ', v) for k, v in parts], "}"))])
        inner = [("", part) for _, part in parts]
        if base == "nn.ModuleList":
            return Made(f"{name}(", [("", Made("[", inner, "]"))])
        return Made(f"{name}(", inner)

    def _arguments(self, module: Any, base: str, torchs: bool) -> list[tuple[str, str]]:
        """Constructor arguments of a layer, read off its attributes."""
        from fx import nn

        found = []
        for name, parameter in inspect.signature(getattr(nn, base[3:])).parameters.items():
            if name in SKIPPED or parameter.kind in (parameter.VAR_POSITIONAL, 4):
                continue
            value = argument(module, base, name, parameter.default)
            if torchs and name in SIZES:
                value = one(value)  # a subclass may look at the second of two
            if parameter.default is parameter.empty:
                found.append(("", self.text(value)))
            elif value != one(parameter.default) or type(value) is not type(parameter.default):
                if not (value == parameter.default and isinstance(value, int | float)):
                    found.append((f"{name}=", self.text(value)))
        return found

    def _give(self, module: Any, made: Made, own: set[str], path: str) -> None:
        """The attributes of one of the user's modules, as keyword arguments."""
        kind, before = type(module), 0
        names = self.attributes.setdefault(kind, [])
        self.parts[kind] += 1
        base = torch_base(type(module))
        inside = set(module._modules) if base in CONTAINERS else set()
        if base == "nn.ModuleList" and inside != {str(n) for n in range(len(inside))}:
            inside = set()
        given = bound.plain(module, self.bound)
        parts: dict[str, Any] = {**given, **module._parameters, **module._buffers}
        parts |= module._modules
        apart = {n: v for n, v in parts.items() if n not in module._modules and held_apart(v)}
        parts = {n: v for n, v in parts.items() if n not in apart} | apart  # after what they share
        parts = {n + "_" * (n in self.reserved): v for n, v in parts.items()}
        odd: list = []
        for name, value in parts.items():
            held = name in module._modules and value is not None
            held |= name in {*module._parameters, *module._buffers} and value is not None
            if name in own or name in inside or not (held or name in self.used):
                continue
            if self.scratch.get(name) is False and not held:
                continue
            if numbers.is_sparse(value) and name not in self.used:
                self.notes.append(f"{path}.{name}".lstrip(".") + " is sparse, and was left out")
                continue
            value = None if name in self.scratch and not held else value
            full = f"{path}.{name}".lstrip(".")
            self.held[kind, name] += 1
            self.empty |= {(kind, name)} if value is None else set()
            try:
                text = self._part(module, name, value, full)
            except Obstacle as obstacle:
                if held:
                    raise
                self.notes.append(f"{full} is not carried over: {obstacle.message}")
                continue
            if name not in names:
                names.insert(before, name)
            before = names.index(name) + 1
            if nameable(name):
                made.args.append((f"{name}=", text))
            elif torch_base(kind) == "nn.Module":
                odd.append((f"{name!r}: ", text))
            else:
                raise Obstacle(None, f'"{full}": {name!r} is no name for an argument')
        if odd:
            made.args.append(("**", Made("{", odd, "}")))

    def _part(self, module: Any, name: str, value: Any, full: str) -> Made | str:
        import torch

        if isinstance(value, torch.nn.Module) and name in module._modules:
            return self.make(value, full)
        if held_apart(value):
            return self._apart(module, value, full)
        if numbers.is_numbers(value):
            value = numbers.as_tensor(value)
        if not isinstance(value, torch.Tensor):
            several = tensors(value)
            kept = several and [*map(id, several.values())] in self.tables.values()
            return self._tensors(module, several, full) if kept else self.value(value)
        shape = repr(tuple(value.shape))
        if numbers.is_sparse(value):
            raise Obstacle(None, f'"{full}" is sparse; make it dense in PyTorch: .to_dense()')
        word = DTYPES.get(str(value.dtype).removeprefix("torch."))
        if word is None:
            raise Obstacle(None, f'"{full}": {value.dtype} has no counterpart here')
        dtype = "" if word == "float32" else f", jnp.{word}"
        if name in module._parameters:
            self._share_tensor(value, full)
            # Of a module that is frozen as a whole nobody says that it is to stay so.
            fixed = not value.requires_grad and any(p.requires_grad for p in module.parameters())
            return f"nn.{'Buffer' if fixed else 'Parameter'}({shape}, nn.init.zeros{dtype})"
        if name in module._buffers and name not in module._non_persistent_buffers_set:
            return f"nn.Buffer({shape}, nn.init.zeros{dtype})"
        if array := numbers.text(value):
            return f"nn.Buffer({array}, persistent=False)"
        self.saved[full] = value
        return f"nn.Buffer({shape}, nn.init.zeros{dtype})"

    def _tensors(self, module: Any, named: dict[str, Any], full: str) -> Made:
        """Several tensors under one name: a list of parameters, or of tensors that torch ignores.

        fx's lists and dicts of parameters hold both kinds of declarations.
        """
        listed = list(named) == [str(n) for n in range(len(named))]
        kind, (start, end) = ("List", "[]") if listed else ("Dict", "{}")
        parts: list = [
            ("" if listed else f'"{key}": ', self._part(module, key, value, f"{full}.{key}"))
            for key, value in named.items()
        ]
        return Made(f"nn.Parameter{kind}(", [("", Made(start, parts, end))])

    def _apart(self, module: Any, value: Any, full: str) -> Made:
        """Modules outside of torch's registration: shared with where they are registered, if so."""
        if isinstance(value, dict):
            pairs: list = [
                (f"{str(k)!r}: ", self._apart(module, v, f"{full}.{k}")) for k, v in value.items()
            ]
            return Made("nn.ModuleDict(", [("", Made("{", pairs, "}"))])
        if isinstance(value, list | tuple):
            each: list = [("", self._apart(module, v, f"{full}.{n}")) for n, v in enumerate(value)]
            return Made("nn.ModuleList(", [("", Made("[", each, "]"))])
        if not isinstance(value, module_type()):
            raise Obstacle(None, f'"{full}" is no module, among modules')
        if any(part is module for part in value.modules()):
            raise Obstacle(None, f'"{full}" is the module around it')
        weights = [*value.parameters(), *value.buffers()]
        if weights and id(value) not in self.registered:
            said = "are not in torch's state_dict either, as it is not registered"
            mend = "use nn.ModuleList or nn.ModuleDict in PyTorch"
            raise Obstacle(None, f'the weights of "{full}" {said}; {mend}')
        return self.make(value, full)

    def value(self, value: Any) -> Made | str:
        """A value as source.

        Raises:
            Obstacle: it has no form in source.
        """
        if not isinstance(value, tuple | list | set | dict) and (said := numbers.literal(value)):
            return said
        if isinstance(value, enum.Enum):
            return values.of_enum(self, value)
        if (type(value).__module__, type(value).__name__) == ("torch", "device"):
            return "None"  # where arrays are is XLA's affair
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return values.named_tuple(self, value)
        if isinstance(value, tuple | list):
            inner = ", ".join(map(self.text, value))
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if (held := objects.held_by_config(value)) is not None:
            return objects.config(self, held) if isinstance(held, dict) else self.value(held)
        if objects.is_settings(value):
            return objects.settings(self, value)
        if isinstance(value, set | frozenset):
            inner = ", ".join(sorted(map(self.text, value)))
            return f"frozenset({{{inner}}})" if value else "frozenset()"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return values.of_dataclass(self, value)
        if (made := values.of_kind(self, value)) is not None:
            return made
        if hasattr(value, "register_forward_hook") and not isinstance(value, type):
            return self.make(value)
        name = torch_name(value)
        if name is not None and translated(name):
            return str(translated(name))
        if name is not None and (renamed := rules.function(name)):
            return renamed[0]
        defined = getattr(value, "__qualname__", "<").replace(".", "").isidentifier()
        if name is None and isinstance(value, type | types.FunctionType) and defined:
            return need(value, value.__name__, {}, value.__module__, self.needs, None)
        if (function := applied(value, self.needs)) is not None:
            return function
        if id(value) in (self.constructed or {}):
            return objects.made(self, value)
        if objects.is_plain(value) and (self.constructed is None or not objects.is_made(value)):
            return objects.plain(self, value)
        return self._unknown(value)

    def text(self, value: Any) -> str:
        """A value as source on one line."""
        made = self.value(value)
        return made if isinstance(made, str) else made.flat()

    def _unknown(self, value: Any) -> str:
        if isinstance(value, types.FunctionType):
            owner = vars(sys.modules[value.__module__])
            for name in [name for name, each in owner.items() if each is value]:
                return need(value, name, owner, value.__module__, self.needs, None)
            return closures.made(value, self)
        shape = f" {list(value.shape)}" if hasattr(value, "shape") else ""
        said = "that a constructor is given has no form in source; make it inside"
        raise Obstacle(None, f"a {type(value).__name__}{shape} {said}")

    def _share(self, module: Any, path: str) -> None:
        if not any(True for _ in [*module.parameters(), *module.buffers()]):
            return
        if id(module) in self.seen:
            self.ties.append((path, self.seen[id(module)]))
            return
        self.seen[id(module)] = path
        if torch_base(type(module)) != "nn.Module":  # a layer of torch, or a subclass of one
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    self._share_tensor(parameter, f"{path}.{name}".lstrip("."))

    def _share_tensor(self, tensor: Any, path: str) -> None:
        first = self.seen.setdefault(id(tensor), path)
        inside = any(path.startswith(f"{alias}.") for alias, _ in self.ties)
        if first != path and not inside:
            self.ties.append((path, first))


def module_type() -> type:
    """`torch.nn.Module`, imported when it is asked for."""
    import torch

    return torch.nn.Module
