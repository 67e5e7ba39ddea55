"""Parts that a constructor puts in the place of a part's: `self.backbone.fc = nn.Linear(4, 2)`.

fx's parts are frozen when they are made, so that the whole is given a changed copy:
`self.backbone = nn.replace(self.backbone, "fc", nn.Linear(4, 2))`.
"""

import ast
from typing import Any

from fx.porting.tree import module_type


def statement(rw: Any, node: ast.Assign, target: ast.expr) -> str | None:
    """The statement that has a changed copy; None where no part of a part is replaced."""
    if not (rw.functions and rw.functions[0].name == "__init__" and _makes_a_part(rw, node.value)):
        return None
    names: list[str] = []
    while isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Attribute):
            names.insert(0, target.attr)
        elif isinstance(target.slice, ast.Constant):
            names.insert(0, str(target.slice.value))
        else:
            return None  # the last one, `[-1]`, say
        target = target.value
    if not isinstance(target, ast.Name) or not names:
        return None
    owner = target.id
    if owner == rw.functions[0].args.args[0].arg:
        owner = f"{owner}.{names.pop(0)}"
    elif not all(issubclass(kind, module_type()) for kind in rw.kinds(owner)) or not rw.kinds(
        owner
    ):
        return None
    made = _made(rw, owner)
    if made is not None and rw.torch_key(made)[0] == "nn.Module":
        return None  # which takes new parts
    if all(name.isdigit() for name in names):
        return None  # a list's, which takes others while it is made
    return f'{owner} = nn.replace({owner}, "{".".join(names)}", {rw.text(node.value)})'


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
