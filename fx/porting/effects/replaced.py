"""Parts that a constructor puts in the place of a part's: `self.backbone.fc = nn.Linear(4, 2)`.

fx's parts are frozen when they are made, so that the whole is given a changed copy:
`self.backbone = nn.replace(self.backbone, "fc", nn.Linear(4, 2))`.
"""

import ast
from typing import Any

from fx.porting.effects.shared import stored
from fx.porting.model.tree import module_type


def statement(rw: Any, node: ast.Assign, target: ast.expr) -> str | None:
    """The statement that has a changed copy; None where no part of a part is replaced."""
    if not (rw.functions and rw.functions[0].name == "__init__"):
        return None
    part = _makes_a_part(rw, node.value)
    if not part and not (isinstance(target, ast.Attribute) and target.attr in rw.held.marks):
        return None
    found = _owner(rw, target)
    if found is None:
        return None
    owner, names = found
    made = _made(rw, owner)
    if made is not None and rw.torch_key(made)[0] == "nn.Module":
        return None  # which takes new parts
    if all(name.isdigit() for name in names):
        return None  # a list's, which takes others while it is made
    value = rw.text(node.value)
    if not part and rw.held.marks[names[-1]]:
        *inside, last = names
        if not inside:
            return f"{owner} = nn.mark({owner}, {last}={value})"
        marked = "".join(f"[{n}]" if n.lstrip("-").isdigit() else f".{n}" for n in inside)
        names, value = inside, f"nn.mark({owner}{marked}, {last}={value})"
    path = ".".join(f"{{len({owner}) - {n[1:]}}}" if n[:1] == "-" else n for n in names)
    return f'{owner} = nn.replace({owner}, {"f" * ("{" in path)}"{path}", {value})'


def tuples(rw: Any, node: ast.Assign, target: ast.Tuple) -> str | None:
    """`m.i, m.f = i, f` of a part: a copy with both."""
    if not (rw.functions and isinstance(node.value, ast.Tuple)):
        return None
    pairs = list(zip(target.elts, node.value.elts))
    if not all(isinstance(t, ast.Attribute) and rw.held.marks.get(t.attr) for t, _ in pairs):
        return None
    owners = {_owner(rw, t) and _owner(rw, t)[0] for t, _ in pairs}  # type: ignore[index]
    if len(owners) != 1 or None in owners or len(pairs) != len(node.value.elts):
        return None
    (owner,) = owners
    given = ", ".join(f"{t.attr}={rw.text(value)}" for t, value in pairs)  # type: ignore[attr-defined]
    return f"{owner} = nn.mark({owner}, {given})"


def _owner(rw: Any, target: ast.expr) -> tuple[str, list[str]] | None:
    """The part of the constructor's that a target is inside of, and the names from there."""
    names: list[str] = []
    while isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Attribute):
            names.insert(0, target.attr)
        elif (index := ast.unparse(target.slice)).lstrip("-").isdigit():
            names.insert(0, index)
        else:
            return None
        target = target.value
    if not isinstance(target, ast.Name) or not names:
        return None
    owner = target.id
    if owner == rw.functions[0].args.args[0].arg:
        owner = f"{owner}.{names.pop(0)}"
    elif not rw.kinds(owner) or not all(issubclass(k, module_type()) for k in rw.kinds(owner)):
        return None
    loops = [part for part in ast.walk(rw.functions[-1]) if isinstance(part, ast.For)]
    if any(owner in stored([loop.target]) for loop in loops):
        return None  # of a list, which would not see the copy
    negative = [place for place, name in enumerate(names) if name[:1] == "-"]
    return (owner, names) if names and negative in ([], [0]) else None


def _makes_a_part(rw: Any, node: ast.expr) -> bool:
    """Whether it is a call that makes a module."""
    if not isinstance(node, ast.Call):
        return False
    known, value = rw.resolve(node.func)
    return known and isinstance(value, type) and issubclass(value, module_type())


def _made(rw: Any, owner: str) -> ast.Call | None:
    """What the constructor at hand calls to make a part."""
    calls = [
        part.value for part in ast.walk(rw.functions[-1])
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == owner
        and isinstance(part.value, ast.Call)
    ]  # fmt: skip
    return calls[0] if calls else None
