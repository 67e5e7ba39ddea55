"""The rules against docs/from-pytorch.md: every row that they know, run on both sides."""

import ast
from types import SimpleNamespace
from typing import Any

import pytest

from fx.porting.calls.calls import Call, ported
from fx.porting.calls.special import SPECIAL
from fx.porting.pairs import rules
from fx.porting.read.names import Obstacle
from tests.docs.test_from_pytorch import (
    PAIRS,
    Pair,
    both,
    compare,
    compare_distributions,
    plain,
)


def call_of(pair: Pair) -> Call | None:
    """The row's left side as a call of torch, where all of it is one."""
    if "\n" in pair.torch:
        return None
    (statement,) = ast.parse(pair.torch).body
    node = getattr(statement, "value", None)
    if not isinstance(statement, ast.Expr) or not isinstance(node, ast.Call):
        return None
    if not isinstance(node.func, ast.Attribute):
        return None
    if any(isinstance(part, ast.Call) for arg in node.args for part in ast.walk(arg)):
        return None  # rows about two functions at once
    kwargs = {k.arg: k.value for k in node.keywords}
    rewriter = SimpleNamespace(text=translated, key=lambda node: "key")
    owner = ast.unparse(node.func.value)
    if owner == "torch" or owner in ("torch.linalg", "torch.fft"):
        key, args = f"{owner}.{node.func.attr}", list(node.args)
    elif isinstance(node.func.value, ast.Name) and owner.islower() and owner not in ("nn", "fx"):
        key, args = f"Tensor.{node.func.attr}", [node.func.value, *node.args]
    else:
        return None
    if node.func.attr in SPECIAL or not rules.of(key)[1]:
        return None  # what was seen at run time decides, or the whole program does
    return Call(key, node, args, kwargs, [], rewriter)


def translated(node: ast.AST) -> str:
    """Arguments in these rows are names, numbers and dtypes."""
    return ast.unparse(node).replace("torch.", "jnp.")


def known() -> list[Any]:
    found = []
    for pair in PAIRS:
        call = call_of(pair)
        if call is None:
            continue
        try:
            found.append((pair, ported(call)))
        except Obstacle:
            continue
    return found


ROWS = known()
CHANGED = [(pair, text) for pair, text in ROWS if text != pair.fx]


def test_many_rows_are_rules():
    """Most come out letter for letter as the page has them."""
    assert len(ROWS) >= 85
    assert len(ROWS) - len(CHANGED) >= 60


@pytest.mark.parametrize(("pair", "text"), CHANGED, ids=lambda v: str(getattr(v, "line", ""))[:8])
def test_what_is_written_otherwise_computes_the_same(pair, text, monkeypatch):
    changed = Pair(pair.section, pair.line, pair.torch, text, pair.before, pair.distribution)
    expected, found = both(changed, monkeypatch)
    check = compare_distributions if pair.distribution else compare
    check(plain(expected), plain(found))
