"""Looks up what a call of torch becomes, in fx/porting/pairs/table.py."""

import ast
from functools import cache

from fx.porting.pairs.table import RULES, SAME


@cache
def table() -> dict[str, list[tuple[ast.Call, ast.expr]]]:
    """The rules by torch's name of the function: "torch.cat", "Tensor.view"."""
    found: dict[str, list[tuple[ast.Call, ast.expr]]] = {}
    for line in RULES.strip().splitlines():
        left, right = (ast.parse(side.strip(), mode="eval").body for side in _sides(line))
        assert isinstance(left, ast.Call)
        found.setdefault(name(left), []).append((left, right))
    for word in SAME.split():
        for args in ("x", "x, other"):
            call = ast.parse(f"x.{word}({args[3:]})", mode="eval").body
            assert isinstance(call, ast.Call)
            into = ast.parse(f"jnp.{word}({args})", mode="eval").body
            found.setdefault(f"Tensor.{word}", []).append((call, into))
    return found


def _sides(line: str) -> tuple[str, str]:
    left, _, right = line.partition(" | ")
    return left, right


def name(call: ast.Call) -> str:
    """The torch name that a rule's left side is about."""
    dotted = ast.unparse(call.func)
    return f"Tensor.{dotted[2:]}" if dotted.startswith("x.") else dotted


def function(key: str) -> tuple[str, dict[str, str]] | None:
    """The function that a rule calls with the same arguments, and its names for keywords."""
    for left, right in of(key)[1]:
        called = isinstance(right, ast.Call) and ast.unparse(right.func)
        if not (called and called.startswith(("jnp.", "jax."))):
            continue
        assert isinstance(right, ast.Call)
        plain = all(isinstance(arg, ast.Name) for arg in [*left.args, *right.args])
        given = len(left.args) + name(left).startswith("Tensor.")  # what it is a method of, too
        if plain and given == len(right.args) == 1:
            return called, {ast.unparse(k.value): k.arg or "" for k in right.keywords}
    return None


def of(key: str) -> tuple[str, list[tuple[ast.Call, ast.expr]]]:
    """The rules for a function, and whether its first argument is the receiver or in the call."""
    rules = table()
    tries = [key]
    head, _, last = key.rpartition(".")
    if head == "Tensor":
        tries += [f"torch.{last}"]
    elif head in ("torch", "torch.special"):
        tries += [f"Tensor.{last}"]
    bare = last.removesuffix("_")
    if last.endswith("_") and not last.startswith("__"):
        tries += [f"Tensor.{bare}", f"torch.{bare}"]
    found = [each for each in tries if each in rules]
    return (found[0], rules[found[0]]) if found else ("", [])
