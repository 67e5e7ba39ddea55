"""Settings that parts of a model hold: dataclasses, and kinds of an installed package's own."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from fx.porting.model.layout import Made
from fx.porting.read.live import plain as attributes
from fx.porting.read.live import same, stored
from fx.porting.read.names import Obstacle, need, need_twin, torch_name, twin
from fx.porting.read.record import file_of, is_packaged, is_users


def held_by_config(value: Any) -> dict | list | None:
    """What a configuration of an installed package holds: OmegaConf's, `ConfigDict`."""
    kind = type(value)
    plain = isinstance(value, dict | list | type) or hasattr(value, "register_forward_hook")
    if plain or not is_packaged(kind) or twin(kind):
        return None
    if hasattr(value, "keys") and hasattr(kind, "__getitem__"):
        mapping: Any = value
        given = {key: mapping[key] for key in mapping.keys()}  # noqa: SIM118 - not all iterate
        return given if all(isinstance(key, str) and key.isidentifier() for key in given) else None
    return list(value) if isinstance(value, Sequence) and not isinstance(value, tuple) else None


def config(tree: Any, held: dict) -> str:
    """A mapping, the entries of which are attributes, too."""
    given = ", ".join(f"{key}={tree.text(value)}" for key, value in held.items())
    need_twin("Namespace", tree.needs)
    return f"{need_twin('Config', tree.needs)}({given})"


def is_settings(value: Any) -> bool:
    """Whether an object is of a class of an installed package, with bases of such a package."""
    return not isinstance(value, type) and is_kind(type(value)) and hasattr(value, "__dict__")


def is_kind(kind: type) -> bool:
    """Whether a class is one of such settings."""
    called = any("__call__" in vars(base) for base in kind.__mro__)
    if called or twin(kind) or torch_name(kind):
        return False
    if not is_packaged(kind):  # the user's, on one of a package: `class Config(PretrainedConfig)`
        bases = [base for base in kind.__mro__[1:] if is_packaged(base)]
        return any(map(is_kind, bases)) and not any(map(torch_name, kind.__mro__[:-1]))
    plain = all(base.__module__ == "builtins" for base in kind.__mro__[1:])
    return not plain


def settings(tree: Any, value: Any) -> str:
    """The name of a namespace with what the written code reads of an object."""
    if id(value) not in tree.objects:
        name = _free(tree, type(value))
        tree.objects[id(value)] = name, ""
        read = ", ".join(f"{n}={text}" for n, text in _read(tree, value))
        namespace = need_twin("Namespace", tree.needs)
        if hasattr(value, "get_text_config"):
            namespace = need_twin("Settings", tree.needs)
        del tree.objects[id(value)]
        tree.objects[id(value)] = name, f"{namespace}({read})"  # after those that it holds
    return tree.objects[id(value)][0]


def _read(tree: Any, value: Any) -> list[tuple[str, str]]:
    """The attributes that are read, by name, with their text."""
    found = []
    for name in sorted(tree.used):
        if not name.isidentifier() or name.startswith("__"):
            continue
        try:
            given = getattr(value, name)
            if not inspect.isroutine(given) or name in vars(value):
                found.append((name, tree.text(given)))
        except Exception:  # there is none, it says no, or it has no form in source
            if name in vars(value):
                said = f"{type(value).__name__}.{name} is not carried over"
                tree.notes += [said] if said not in tree.notes else []
    return found


def made(tree: Any, value: Any) -> str:
    """The call of an object's constructor, or the name of what it made and somebody changed."""
    kind = type(value)
    if id(value) in tree.objects:
        return tree.objects[id(value)][0]
    name = need(kind, kind.__name__, {}, kind.__module__, tree.needs, None)
    call, before = tree.constructor_call(value, name).flat(), tree.constructed[id(value)][2]
    now = getattr(value, "__dict__", {})
    changed = [key for key in now if key not in before or not same(before[key], now[key])]
    if not changed:
        return call
    name = _free(tree, kind)
    tree.objects[id(value)] = name, ""
    lines = [f"{name}.{key} = {tree.text(now[key])}" for key in changed]
    del tree.objects[id(value)]
    tree.objects[id(value)] = name, "\n    ".join([call, *lines])  # after those that it holds
    return name


def _free(tree: Any, kind: type) -> str:
    """A name for an object that `build` gives one."""
    taken = {name for name, _ in tree.objects.values()}
    word = "config" if re.search("config|cfg", kind.__name__.lower()) else "settings"
    return next(n for n in (word, *(f"{word}{i}" for i in range(2, 999))) if n not in taken)


def is_made(value: Any) -> bool:
    """Whether an object's class has a constructor of its own."""
    return type(value).__init__ is not object.__init__


def is_plain(value: Any) -> bool:
    """Whether an object is of a class of the user's, and its bases are, too."""
    kinds = type(value).__mro__[:-1]
    ours = bool(kinds) and all(is_users(file_of(kind)) for kind in kinds)
    ours = ours and not any(twin(kind) or torch_name(kind) for kind in kinds)
    return ours and all(kind.__qualname__.isidentifier() for kind in kinds)


def plain(tree: Any, value: Any) -> str:
    """An object by its attributes, which its class takes here."""
    kind = type(value)
    name = need(kind, kind.__name__, {}, kind.__module__, tree.needs, None)
    names = tree.attributes.setdefault(kind, [])
    tree.parts[kind] += 1
    given = []
    for key, held in getattr(value, "__dict__", {}).items():
        if hasattr(held, "register_forward_hook") and not isinstance(held, type):
            said = f"{kind.__name__}.{key} is a module in an object that is none; make it a module"
            raise Obstacle(None, said)
        try:
            text = tree.text(held)
        except Obstacle:
            if key in tree.used:
                raise
            continue
        given.append(f"{key}={text}")
        tree.held[kind, key] += 1
        if key not in names:
            names.append(key)
    return f"{name}({', '.join(given)})"


def marked(tree: Any, module: Any, made: Made) -> Made:
    """A layer of torch's with the attributes that somebody put on it, and that are read."""
    bare = torch_name(type(module)) == "nn.Module"  # whose attributes are all its own
    own = set() if bare else set(attributes(module)) - stored(type(module))
    given = [(f"{name}=", tree.value(getattr(module, name))) for name in sorted(own & tree.used)]
    return Made("nn.mark(", [("", made), *given]) if given else made


def of_einops(module: Any, name: str) -> Made:
    """A layer of einops: its pattern, its reduction and the sizes that it is given."""
    given: list = [("", repr(module.pattern))]
    given += [("", repr(module.reduction))] if hasattr(module, "reduction") else []
    return Made(f"{name}(", given + [(f"{k}=", repr(v)) for k, v in module.axes_lengths.items()])
