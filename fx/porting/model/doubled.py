"""Parts that stand under several names: torch shares them as they are, fx by `nn.tie`.

Where `self.bn1` is in `self.conv1 = nn.Sequential(conv, self.bn1)`, too, the constructor ends with
`nn.tie(self, "conv1.1", "bn1")`. A plain list of parts that are registered by name as well,
`self.add_module(f"head_{i}", head)`, is a `nn.ModuleList` of shared parts.
"""

from collections import OrderedDict
from typing import Any

from fx.porting.model.numbers import literal
from fx.porting.read.live import plain

Path = tuple[str, ...]


def ties(root: Any) -> dict[type, list[str]]:
    """For each class of the user's the calls of `nn.tie` that its constructor is to end with.

    What is shared differently in two objects of one class is left out.
    """
    try:
        named = [(tuple(name.split(".")) if name else (), part)
                 for name, part in root.named_modules(remove_duplicate=False)]  # fmt: skip
    except RecursionError:  # a part that holds what it is in
        return {}
    parts = dict(named)
    pairs = _pairs(named) + _listed(named)
    calls: dict[Path, list[str]] = {}
    first: dict[str, tuple[str, ...]] = {}  # what a call needs to be there
    for alias, source in pairs:
        common = next(n for n, both in enumerate(zip(alias, source)) if both[0] != both[1])
        owner = alias[:common]
        while _is_torchs(parts[owner]) and owner:
            owner = owner[:-1]
        inside = alias[len(owner) : common]
        names = ".".join(alias[common:]), ".".join(source[common:])
        place = "self" + "".join(f"[{n}]" if n.isdecimal() else f".{n}" for n in inside)
        call = f'nn.tie({place}, "{names[0]}", "{names[1]}")'
        calls.setdefault(owner, []).append(call)
        first[call] = inside[:1] or (alias[common], source[common])
    found: dict[type, dict[int, tuple[Any, list[str]]]] = {}
    for path, part in named:
        if not _is_torchs(part):
            found.setdefault(type(part), {}).setdefault(id(part), (part, calls.get(path, [])))
    several = {kind: _of_all([*parts.values()], first) for kind, parts in found.items()}
    return {kind: lines for kind, lines in several.items() if lines}


def _of_all(parts: list[tuple[Any, list[str]]], first: dict[str, tuple[str, ...]]) -> list[str]:
    """The calls for all objects of a class; for some of them where attributes tell which."""
    lines = max((each for _, each in parts), key=len)
    if all(each == lines for _, each in parts):
        return lines
    names = sorted({name for line in lines for name in first[line]})
    for part, each in parts:
        there = all(getattr(part, name, None) is not None for name in names)
        if each != (lines if there else []):
            return []
    asked = " and ".join(f'getattr(self, "{name}", None) is not None' for name in names)
    return [f"if {asked}:", *(f"    {line}" for line in lines)]


def _pairs(named: list[tuple[Path, Any]]) -> list[tuple[Path, Path]]:
    """Second names of parts with weights, and the first; not those of what is inside of them."""
    before: dict[int, list[Path]] = {}
    pairs: list[tuple[Path, Path]] = []
    for path, part in named:
        if not any(True for _ in (*part.parameters(), *part.buffers())):
            continue
        others = before.setdefault(id(part), [])
        source = max(others, key=lambda other: _shared(other, path), default=path)
        others.append(path)
        inside = any(path[: len(alias)] == alias for alias, _ in pairs)
        nested = path[: len(source)] == source  # a part of itself
        if source != path and not inside and not nested:
            pairs.append((path, source))
    return pairs


def _shared(one: Path, other: Path) -> int:
    """How many parts two names begin with that are the same: a class ties what is within it."""
    differ = (n for n, both in enumerate(zip(one, other)) if both[0] != both[1])
    return next(differ, min(len(one), len(other)))


def _listed(named: list[tuple[Path, Any]]) -> list[tuple[Path, Path]]:
    """Places in plain lists of parts, and the names that these are registered under."""
    first: dict[int, Path] = {}
    for path, part in named:
        first.setdefault(id(part), path)
    return [
        ((*path, name, str(place)), first[id(each)])
        for path, part in named
        if first[id(part)] == path
        for name, value in plain(part).items()
        if is_list(value, first)
        for place, each in (value.items() if isinstance(value, dict) else enumerate(value))
        if any(True for _ in (*each.parameters(), *each.buffers()))
    ]


def is_list(value: Any, registered: Any) -> bool:
    """Whether a value is a plain list or dict of parts whose weights are all registered besides."""
    if type(value) not in (list, dict, OrderedDict) or not value:
        return False
    parts = value.values() if isinstance(value, dict) else value
    if not all(hasattr(part, "register_forward_hook") for part in parts):
        return False
    weights = (part for part in parts if [*part.parameters(), *part.buffers()])
    named = all(literal(key) and "." not in str(key) for key in value if isinstance(value, dict))
    return named and all(id(part) in registered for part in weights)


def is_keyed(value: Any, registered: Any) -> bool:
    """Whether it is such a dict, with keys that are no text: `self.convs[("up", 1)]`."""
    listed = isinstance(value, dict) and is_list(value, registered)
    return listed and not any(isinstance(key, str) for key in value)


def _is_torchs(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] == "torch"
