"""Settings that parts of a model hold: dataclasses, and kinds of an installed package's own."""

import inspect
from typing import Any

from fx.porting.layout import Made
from fx.porting.live import plain as attributes
from fx.porting.names import Obstacle, need, need_twin, torch_name, twin
from fx.porting.record import file_of, is_packaged, is_users

MARKED = ("nn.Sequential", "nn.ModuleList", "nn.ModuleDict")


def is_settings(value: Any) -> bool:
    """Whether an object is of a class of an installed package, with bases of such a package."""
    return not isinstance(value, type) and is_kind(type(value)) and hasattr(value, "__dict__")


def is_kind(kind: type) -> bool:
    """Whether a class is one of such settings."""
    called = any("__call__" in vars(base) for base in kind.__mro__)
    if called or twin(kind) or torch_name(kind):
        return False
    plain = all(base.__module__ == "builtins" for base in kind.__mro__[1:])
    return is_packaged(kind) and not plain


def settings(tree: Any, value: Any) -> str:
    """The name of a namespace with what the written code reads of an object."""
    if id(value) not in tree.objects:
        kind = type(value).__name__
        taken = {name for name, _ in tree.objects.values()}
        word = "config" if "config" in kind.lower() else "settings"
        name = next(n for n in (word, *(f"{word}{i}" for i in range(2, 999))) if n not in taken)
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
    """One of torch's containers with the attributes that somebody put on it, and that are read."""
    names = attributes(module) if torch_name(type(module)) in MARKED else ()
    own = [name for name in names if name in tree.used]
    if not own:
        return made
    given = [(f"{name}=", tree.value(getattr(module, name))) for name in own]
    return Made(f"{need_twin('marked', tree.needs)}(", [("", made), *given])


def of_einops(module: Any, name: str) -> Made:
    """A layer of einops: its pattern, its reduction and the sizes that it is given."""
    given: list = [("", repr(module.pattern))]
    given += [("", repr(module.reduction))] if hasattr(module, "reduction") else []
    return Made(f"{name}(", given + [(f"{k}=", repr(v)) for k, v in module.axes_lengths.items()])
