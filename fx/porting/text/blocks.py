"""Statements one after another, and what stands around them: loops, and what did not run."""

import ast
from collections.abc import Callable

from fx.porting.calls.calls import DROP
from fx.porting.calls.decided import decided
from fx.porting.effects import rows
from fx.porting.read.names import Obstacle
from fx.porting.text import initial
from fx.porting.text.initial import docstring
from fx.porting.text.rewrite import Rewriter


def block(rw: Rewriter, body: list[ast.stmt]) -> str:
    """Statements one after another; one that did not run and cannot be ported raises instead."""
    code = [node for node in body if not docstring(node)]
    if rw.functions and initial.never_ran(rw, code):
        said = "".join(f"{rw.text(n)}\n{' ' * n.col_offset}" for n in body if docstring(n))
        return said + _untried(rw, code)
    texts, at = [], None
    leaves = False
    for place, node in enumerate(body):
        first, last = rw.source.span(node)
        if at is not None:
            texts.append(rw.source.text[at:first].decode())
        if leaves and rw.functions and not _some_ran(rw, node):
            texts.append(_untried(rw, body[place:]))  # after a return that was always taken
            break
        texts.append(rw.text(node))
        leaves = leaves or any(isinstance(part, ast.Return) for part in ast.walk(node))
        at = last
        always = isinstance(node, ast.If) and decided(rw, node.test) is True
        if always and isinstance(node.body[-1], ast.Return | ast.Raise):
            break  # nothing comes after it
    joined = "".join(texts)
    code = [t for t, n in zip(texts[::2], body) if t != DROP and not docstring(n)]
    return joined if code or any(docstring(n) for n in body) else f"pass{joined}"


def _some_ran(rw: Rewriter, node: ast.stmt) -> bool:
    """Whether a line of a statement ran."""
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return rw.trying or any((rw.place.file, line) in rw.record.lines for line in lines)


def tried(rw: Rewriter, write: Callable[[], str], further: bool = False) -> str | None:
    """The text of what did not run; None where it cannot be written, or needs something further."""
    needs, notes = rw.needs, list(rw.notes)
    rw.needs, rw.trying = needs.trial(), True
    try:
        text = write()
        if further or set(rw.needs.definitions) <= (rw.known or set()):
            needs.add(rw.needs)
            return text
    except Obstacle:
        pass
    finally:
        rw.trying, rw.needs, rw.notes = False, needs, notes
    return None


def _untried(rw: Rewriter, body: list[ast.stmt]) -> str:
    runs = initial.makes_a_global(rw, body)  # here, where it is not there yet
    text = tried(rw, lambda: "".join(joined(rw, body)), runs) if rw.known is not None else None
    if text is not None:
        return text
    where = rw.where(body[0])
    rw.notes.append(f"{where} did not run, and was left out")
    return f'raise NotImplementedError("{where} did not run when this was ported")'


def joined(rw: Rewriter, body: list[ast.stmt]) -> list[str]:
    """Statements and what stands between them; a `pass` before them where none is left."""
    texts, at = [], None
    for node in body:
        first, last = rw.source.span(node)
        texts += [rw.source.text[at:first].decode()] if at is not None else []
        texts.append(rw.text(node))
        at = last
    return ["pass", *texts] if all(t == DROP or not t.strip() for t in texts) else texts


def loop(rw: Rewriter, node: ast.For | ast.While) -> str:
    """A loop, or nothing where nothing is left of what it does."""
    at, pieces = rw.source.span(node)[0], []
    body = joined(rw, node.body)
    counted = rows.head(rw, node) if isinstance(node, ast.For) else None
    for head in [node.target, node.iter] if isinstance(node, ast.For) else [node.test]:
        first, last = rw.source.span(head)
        pieces += [] if counted else [rw.source.text[at:first].decode(), rw.text(head)]
        at = last
    pieces += [counted] if counted else []
    if body[0] == "pass" and not node.orelse:
        return DROP
    for each, texts in ((node.body, body), (node.orelse, joined(rw, node.orelse))):
        if each:
            first, last = rw.source.span(each[0])[0], rw.source.span(each[-1])[1]
            pieces += [rw.source.text[at:first].decode(), *texts]
            at = last
    return "".join(pieces)
