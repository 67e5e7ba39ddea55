"""What stands before a definition's body: decorators that stay, and types."""

import ast
import builtins
import contextlib
import inspect
from typing import Any

from fx.porting.calls.calls import one_line
from fx.porting.model.numbers import literal
from fx.porting.read.names import Obstacle
from fx.porting.read.record import file_of, is_installed, is_users


def kept(rw: Any, node: Any) -> list[ast.expr]:
    """The decorators that stay: not torch's, and not those that give back what they are given."""
    stay = []
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        known, value = rw.resolve(called)
        module = getattr(value, "__module__", "") or ""
        builtin = value in (property, staticmethod, classmethod)
        if known and getattr(value, "__name__", "") in ("cache", "lru_cache"):
            continue  # what is kept while a program is traced is of no use outside of it
        if known and not is_installed(rw.place.file) and is_users(file_of(value)):
            said = f"the decorator {ast.unparse(called)} is left out"
            note = f"{rw.where(node)}: {said}"
            rw.notes += [note] if note not in rw.notes else []
        if not known or builtin or module in ("functools", "dataclasses", "enum"):
            stay.append(decorator)
    return stay


def annotation(rw: Any, node: ast.expr) -> str:
    """A type; Any where nothing here corresponds."""
    before, rw.needs = rw.needs, rw.needs.trial()
    try:
        unknown = (isinstance(node, ast.Constant) and node.value) or _undefined(rw, node)
        text = None if unknown else rw.text(node)
        if not set(rw.needs.definitions) <= (rw.known or set()):
            text = None
        elif text is not None:
            before.add(rw.needs)
            if rw.needs.definitions and '"' not in text:
                text = f'"{one_line(text)}"'  # its definition may come later
    except Obstacle:
        text = None
    finally:
        rw.needs = before
    if text is None:
        rw.uses("Any", "from typing import Any")
    return text or "Any"


def _undefined(rw: Any, node: ast.expr) -> bool:
    """Whether a type has names that its file does not: `from __future__ import annotations`."""
    known = {*rw.names, *vars(builtins)}.union(*rw.scopes)
    return any(isinstance(n, ast.Name) and n.id not in known for n in ast.walk(node))


def default(rw: Any, node: ast.expr) -> str:
    """An argument's default; of a call, `is_newer(torch.__version__)`, the number that it gave."""
    scope = rw.scopes.pop()  # `make=make`: not the argument itself
    try:
        return _default(rw, node)
    finally:
        rw.scopes.append(scope)


def _default(rw: Any, node: ast.expr) -> str:
    if isinstance(node, ast.Call) and rw.torch_key(node)[0] is None:
        with contextlib.suppress(Exception):  # of the user's, which a class's own names may need
            value = eval(compile(ast.Expression(node), rw.place.file, "eval"), dict(rw.names))
            if (said := literal(value)) is not None:
                return said
    known, value = rw.resolve(node)
    try:
        return rw.text(node)
    except Obstacle:
        if not known or isinstance(value, type) or inspect.isroutine(value):
            raise
        rw.notes.append(f"{rw.where(node)}: the default {ast.unparse(node)} is None here")
        return "None"
