"""Calls of linear algebra that take other arguments here, or give other parts."""

import ast

from fx.porting.calls.calls import Call, ported, wrapped
from fx.porting.calls.named import named
from fx.porting.read.record import Shape


def triangular(call: Call) -> str:
    """`torch.linalg.solve_triangular(x, y, upper=True)`, `torch.cholesky_solve(y, x)`."""
    upper, left = call.kwargs.get("upper"), call.kwargs.get("left")
    if (left is not None and ast.unparse(left) != "True") or len(call.args) < 2:
        raise call.obstacle("no rule for these arguments; write it with jax.scipy.linalg")
    if len(call.args) > 2:
        upper = call.args[2]
    lower = _negated(call, upper, "True")
    x, y = (call.text(arg) for arg in call.args[:2])
    if call.key.endswith("cholesky_solve"):
        return f"jax.scipy.linalg.cho_solve(({y}, {lower}), {x})"
    unit = call.kwargs.get("unitriangular")
    rest = f", unit_diagonal={call.text(unit)}" if unit is not None else ""
    return f"jax.scipy.linalg.solve_triangular({x}, {y}, lower={lower}{rest})"


def svd(call: Call) -> str:
    """`torch.svd(x)`, whose last part is V where `torch.linalg.svd` gives its transpose."""
    if "linalg" in call.key:
        return ported(call)
    some, uv = call.argument(1, "some"), call.argument(2, "compute_uv")
    if uv is not None and ast.unparse(uv) != "True":
        raise call.obstacle("no rule for these arguments; write it with torch.linalg.svd")
    full = _negated(call, some, "False")
    text = f"jnp.linalg.svd({call.text(call.args[0])}, full_matrices={full})"
    parts, again = named(call, text, "parts")
    seen = [part.dtype for fact in call.facts for part in fact.args[:1] if isinstance(part, Shape)]
    adjoint = ".mT.conj()" if any("complex" in dtype for dtype in seen) else ".mT"
    return f"({parts}[0], {again}[1], {again}[2]{adjoint})"


def _negated(call: Call, node: ast.expr | None, default: str) -> str:
    """The opposite of a flag, or what it is where none is given."""
    if node is None:
        return default
    known = {"True": "False", "False": "True"}.get(ast.unparse(node))
    return known or f"not {wrapped(call.text(node))}"
