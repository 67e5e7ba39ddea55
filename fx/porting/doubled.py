"""Parts that stand under several names: torch shares them as they are, fx by `nn.tie`.

Where `self.bn1` is in `self.conv1 = nn.Sequential(conv, self.bn1)`, too, the constructor ends with
`nn.tie(self, "conv1.1", "bn1")`. A plain list of parts that are registered by name as well,
`self.add_module(f"head_{i}", head)`, is a `nn.ModuleList` of shared parts.
"""

from typing import Any

from fx.porting.live import plain

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
    for alias, source in pairs:
        common = next(n for n, both in enumerate(zip(alias, source)) if both[0] != both[1])
        owner = alias[:common]
        while _is_torchs(parts[owner]) and owner:
            owner = owner[:-1]
        inside = alias[len(owner) : common]
        names = ".".join(alias[common:]), ".".join(source[common:])
        place = "self" + "".join(f"[{n}]" if n.isdecimal() else f".{n}" for n in inside)
        calls.setdefault(owner, []).append(f'nn.tie({place}, "{names[0]}", "{names[1]}")')
    found: dict[type, list[str]] = {}
    differ, seen = set(), set()
    for path, part in named:
        if id(part) in seen or _is_torchs(part):
            continue
        seen.add(id(part))
        if found.setdefault(type(part), calls.get(path, [])) != calls.get(path, []):
            differ.add(type(part))
    return {kind: lines for kind, lines in found.items() if lines and kind not in differ}


def _pairs(named: list[tuple[Path, Any]]) -> list[tuple[Path, Path]]:
    """Second names of parts with weights, and the first; not those of what is inside of them."""
    first: dict[int, Path] = {}
    pairs: list[tuple[Path, Path]] = []
    for path, part in named:
        if not any(True for _ in (*part.parameters(), *part.buffers())):
            continue
        source = first.setdefault(id(part), path)
        inside = any(path[: len(alias)] == alias for alias, _ in pairs)
        nested = path[: len(source)] == source  # a part of itself
        if source != path and not inside and not nested:
            pairs.append((path, source))
    return pairs


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
    if type(value) not in (list, dict) or not value:
        return False
    parts = value.values() if isinstance(value, dict) else value
    if not all(hasattr(part, "register_forward_hook") for part in parts):
        return False
    weights = (part for part in parts if [*part.parameters(), *part.buffers()])
    return all(isinstance(key, str) for key in value if isinstance(value, dict)) and all(
        id(part) in registered for part in weights
    )


def _is_torchs(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] == "torch"
