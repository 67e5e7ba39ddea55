"""What a PyTorch model does when it runs: which call of torch stood where, and which lines ran.

Whether `x.split(2)` cuts a tensor or a string cannot be read off the text. So the model runs once,
and every call of torch is noted with the place in the source that made it.
"""

import contextlib
import re
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from fx.porting.read import begun

_STANDARD = sysconfig.get_paths()["stdlib"]
_PACKAGES = (sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"])
# What torch imports when it is first asked for something: nothing of a model's.
_LIBRARIES = ("jax", "jaxlib", "mpmath", "networkx", "numpy", "scipy", "sympy")
COMPILES = re.compile(r"is_(tracing|\w*compiling)$")  # what packages ask, and XLA does
_WRITES = re.compile(
    r"(?<!_)(?<!requires_grad)_$|\.(__setitem__|__i\w+__)$"
)  # calls that change their tensor
_KEPT = 32  # different calls remembered of one place


@dataclass(frozen=True)
class Shape:
    """A tensor, as a record remembers it."""

    shape: tuple[int, ...]
    dtype: str
    in_order: bool = True  # its numbers lie one after another, from the first on


@dataclass(frozen=True)
class Fact:
    """One call: the arguments, tensors as `Shape`s."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class Record:
    """What was seen. A place is a file and the line and column at which the call's text ends."""

    calls: dict[tuple[str, int, int], dict[str, list[Fact]]] = field(default_factory=dict)
    lines: set[tuple[str, int]] = field(default_factory=set)
    evaluated: set[tuple[str, int]] = field(default_factory=set)  # lines that ran in evaluation
    functions: set[tuple[str, int]] = field(default_factory=set)
    # by constructors: the object, what they were given, and its attributes at their end
    constructed: dict[int, tuple[Any, dict, dict]] = field(default_factory=dict)
    locals: dict[tuple[str, int, str], set[type]] = field(default_factory=dict)
    values: dict[tuple[str, int, str], list[Any]] = field(default_factory=dict)  # "" is returned
    held: set[type] = field(default_factory=set)  # the types of parts and of what is in them
    # buffers and weights that a line was seen to write into, and all of them by where they are
    written: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    storages: dict[int, tuple[str, Any]] = field(default_factory=dict)
    building: bool = False  # constructors run; what they write into weights, by address
    first: dict[int, Any] = field(default_factory=dict)
    asked: bool = False  # a package wanted to know whether the model is compiled
    outputs: set[type] = field(default_factory=set)  # the kinds of what the model returns
    tables: dict[int, list[int]] = field(default_factory=dict)  # lists of tensors before it ran
    steady: Any = None  # asked, says whether a second call gives the same

    @cached_property
    def seen(self) -> set[type]:
        """The types of all that names stood for, and that parts hold."""
        return self.held.union(*self.locals.values())

    @cached_property
    def names(self) -> dict[type, set[str]]:
        """What objects of a type were called."""
        found: dict[type, set[str]] = {}
        for (_, _, name), kinds in self.locals.items():
            for kind in kinds:
                found.setdefault(kind, set()).add(name)
        return found

    def at(self, file: str, line: int, column: int) -> dict[str, list[Fact]]:
        """The torch functions that were called from a place, by name."""
        return self.calls.get((file, line, column), {})

    def joined(self, other: "Record") -> "Record":
        """What either has seen; the kinds of outputs are of the other."""
        calls = {place: {name: [*facts] for name, facts in seen.items()}
                 for place, seen in self.calls.items()}  # fmt: skip
        for place, seen in other.calls.items():
            for name, facts in seen.items():
                calls.setdefault(place, {}).setdefault(name, []).extend(facts)
        both = self.locals.keys() | other.locals.keys()
        return Record(
            calls, self.lines | other.lines, self.evaluated | other.evaluated,
            self.functions | other.functions,
            self.constructed | other.constructed,
            {at: self.locals.get(at, set()) | other.locals.get(at, set()) for at in both},
            {at: self.values.get(at, []) + other.values.get(at, [])
             for at in self.values.keys() | other.values.keys()},
            self.held | other.held,
            {at: self.written.get(at, set()) | other.written.get(at, set())
             for at in self.written.keys() | other.written.keys()},
            other.storages, False, {}, self.asked or other.asked, other.outputs, other.tables,
            other.steady,
        )  # fmt: skip


def file_of(value: Any) -> str:
    """The file that a class or a function is of, by its module; "" where there is none."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return getattr(module, "__file__", None) or ""


def is_packaged(value: Any) -> bool:
    """Whether a class or a function is of an installed package, torch and the like aside."""
    file = file_of(value)
    return is_users(file) and is_installed(file)


def is_installed(file: str) -> bool:
    """Whether a file is of an installed package, and not of whoever ports a model."""
    return any(_within(file, folder) for folder in _PACKAGES)


def is_users(file: str) -> bool:
    """Whether a file is neither torch's, nor Python's, nor of this folder, nor made up."""
    if not file.endswith(".py") or file.startswith("<") or _within(file, _torch_folder()):
        return False
    libraries = (f"{folder}/{name}" for folder in _PACKAGES for name in _LIBRARIES)
    if any(_within(file, folder) for folder in (str(Path(__file__).parent.parent), *libraries)):
        return False
    return not _within(file, _STANDARD) or any(_within(file, folder) for folder in _PACKAGES)


def unscripted(value: Any) -> Any:
    """The function that `torch.jit.script` was given; anything else as it is."""
    return getattr(value, "_torchdynamo_inline", value)


def original(value: Any) -> Any:
    """The class that a decorator has made a subclass of, under its name; else what it is given.

    NVIDIA's `@persistent_class`: the subclass keeps what its constructor is given.
    """
    if not (isinstance(value, type) and "<locals>" in value.__qualname__):
        return value
    above = value.__mro__[1]
    same = above.__name__ == value.__name__ and is_users(file_of(above))
    return above if same and "forward" not in vars(value) else value


@contextlib.contextmanager
def originals(module: Any) -> Iterator[None]:
    """Parts of such classes are of the original ones for a while."""
    parts = [(part, type(part)) for part in module.modules()]
    parts = [(part, kind) for part, kind in parts if original(kind) is not kind]
    kinds = {kind for _, kind in parts}
    loaded = list(sys.modules.values()) if kinds else []
    modules = [each for each in loaded if is_users(getattr(each, "__file__", None) or "")]
    places = [(m, n, v) for m in modules for n, v in list(vars(m).items()) if _is_one(v, kinds)]
    for part, kind in parts:
        part.__class__ = original(kind)
    for owner, name, kind in places:  # which a forward may ask for
        setattr(owner, name, original(kind))
    try:
        yield
    finally:
        for part, kind in parts:
            part.__class__ = kind
        for owner, name, kind in places:
            setattr(owner, name, kind)


def _is_one(value: Any, kinds: set[type]) -> bool:
    return issubclass(type(value), type) and value in kinds


def watch(run: Callable[[], Any], record: Record) -> Any:
    """Run a function, and note what it does with torch in a record."""
    mode = _mode(record)
    before = sys.gettrace()
    sys.settrace(_tracer(record))
    try:
        with uncompiled(), mode:
            return run()
    finally:
        sys.settrace(before)


def uncompiled() -> Any:
    """A context in which what was compiled or scripted runs line by line, to be seen."""
    import torch

    def call(scripted: Any, *args: Any, **kwargs: Any) -> Any:
        python = unscripted(scripted)
        return (script if python is scripted else type(python).__call__)(python, *args, **kwargs)

    script = torch.jit.ScriptFunction.__call__
    contexts = contextlib.ExitStack()
    contexts.enter_context(mock.patch.object(torch.jit.ScriptFunction, "__call__", call))
    compiles = {"torch._dynamo", "torch.nn.attention.flex_attention"}  # the second loads the first
    if not compiles.isdisjoint(sys.modules):
        contexts.enter_context(torch.compiler.set_stance("force_eager"))
    return contexts


def _mode(record: Record) -> Any:
    from torch.overrides import TorchFunctionMode, resolve_name

    places: dict[Any, list] = {}
    known: set[tuple] = set()

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if record.building:
                begun.note(record.first, func, args, kwargs or {}, sys._getframe(1))
            frame = _caller(sys._getframe(1), func)
            if frame is not None:
                code = frame.f_code
                if code not in places:
                    places[code] = list(code.co_positions())
                _, line, _, column = places[code][frame.f_lasti // 2]
                seen = record.calls.setdefault((code.co_filename, line or 0, column or 0), {})
                name = resolve_name(func) or func.__name__
                facts = seen.setdefault(name, [])
                if len(facts) < _KEPT:
                    fact = Fact(_noted(tuple(args)), _noted(kwargs or {}))
                    if (id(facts), repr(fact)) not in known:
                        known.add((id(facts), repr(fact)))
                        facts.append(fact)
                if args and _WRITES.search(name):
                    _note_write(record, (code.co_filename, line or 0), args[0])
            return func(*args, **(kwargs or {}))

    return Watch()


def _note_write(record: Record, place: tuple[str, int], target: Any) -> None:
    """Note that a line writes into a tensor, where that is a buffer or a weight of the model."""
    if held := record.storages.get(_address(target)):
        record.written.setdefault(place, set()).add(held[0])


def _address(tensor: Any) -> int:
    """Where the numbers of a tensor lie; 0 for anything else."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (AttributeError, RuntimeError):  # no tensor, or one without numbers
        return 0


def storages(module: Any) -> dict[int, tuple[str, Any]]:
    """Buffers and weights of a model, by where their numbers lie; no others while these live."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {_address(tensor): (name, tensor) for name, tensor in named if _address(tensor)}


def _caller(frame: Any, func: Any) -> Any:
    """The frame of a user's file that called `func`, None where torch itself called it."""
    own = getattr(func, "__code__", None)
    while frame and (frame.f_code is own or frame.f_code.co_filename == _overrides()):
        frame = frame.f_back
    return frame if frame and is_users(frame.f_code.co_filename) else None


def _tracer(record: Record) -> Any:
    def line(frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            record.lines.add((frame.f_code.co_filename, frame.f_lineno))
        elif event == "return":
            _note_types(frame, record)
            _note_values(frame, arg, record)
            _note_attributes(frame, record)
        return line

    users: dict[str, bool] = {}

    def call(frame: Any, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in users:
            users[code.co_filename] = is_users(code.co_filename)
        if not users[code.co_filename]:
            return None
        record.functions.add((code.co_filename, code.co_firstlineno))
        if COMPILES.match(code.co_name) and is_installed(code.co_filename):
            record.asked = True
        _note_types(frame, record)
        if code.co_name == "__init__" and code.co_argcount:
            _note_constructor(frame, record)
        return line

    return call


def _note_types(frame: Any, record: Record) -> None:
    code = frame.f_code
    for name, value in frame.f_locals.items():
        place = code.co_filename, code.co_firstlineno, name
        record.locals.setdefault(place, set()).add(type(value))


def _note_values(frame: Any, returned: Any, record: Record) -> None:
    """What names stand for where a function ends, if that can be written: a function, say."""
    code = frame.f_code
    for name, value in {**frame.f_locals, "": returned}.items():
        simple = value is None or isinstance(value, bool | str | types.FunctionType | type)
        seen = record.values.setdefault((code.co_filename, code.co_firstlineno, name), [])
        if not any(value is each for each in seen):
            seen.append(value if simple else ...)


def _note_constructor(frame: Any, record: Record) -> None:
    code, values = frame.f_code, frame.f_locals
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    module = values.get(names[0])
    kind = type(module)
    if original(kind) is not kind and code is vars(kind)["__init__"].__code__:
        return  # of a subclass that a decorator has made
    if id(module) in record.constructed:
        return  # a base class's constructor: the outermost one has been noted
    given = {name: values[name] for name in names[1:] if name in values}
    rest, flags = code.co_varnames[len(names) :], code.co_flags
    loose = values.get(rest[0], ()) if flags & 0x04 and rest else ()
    if flags & 0x08:
        given |= values.get(rest[1 if flags & 0x04 else 0], {})
    record.constructed[id(module)] = (module, {"": loose, **given}, {})


def _note_attributes(frame: Any, record: Record) -> None:
    """The attributes of an object where its constructor ends: somebody may change them later."""
    code = frame.f_code
    if code.co_name != "__init__" or not code.co_argcount:
        return
    made = frame.f_locals.get(code.co_varnames[0])
    if id(made) in record.constructed and not hasattr(type(made), "register_forward_hook"):
        record.constructed[id(made)][2].update(getattr(made, "__dict__", {}))


def _noted(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        ordered = value.layout is not torch.strided or (
            value.is_contiguous() and value.storage_offset() == 0
        )
        return Shape(tuple(value.shape), str(value.dtype), ordered)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_noted, value)) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {name: _noted(part) for name, part in value.items()}
    return value


def _within(file: str, folder: str) -> bool:
    return file.startswith(str(Path(folder)) + "/")


def _torch_folder() -> str:
    return str(Path(sys.modules["torch"].__file__ or "").parent)


def _overrides() -> str:
    return sys.modules["torch.overrides"].__file__ or ""
