"""Writes into what a loop goes through, the rows of a tensor: they go into the tensor.

for image, row in zip(images, batch):         for place, (image, row) in enumerate(zip(...)):
    row[:, : image.shape[1]].copy_(image)         batch = batch.at[place, :, : ...].set(image)
"""

import ast
from typing import Any

from fx.porting.calls.named import free
from fx.porting.read.names import Obstacle


def row(rw: Any, node: ast.stmt, name: str) -> tuple[ast.Name, str, bool] | None:
    """The tensor that a loop goes through under a name, which row it is, and if that is read again.

    Args:
        rw: the rewriter.
        node: the statement that writes into the row.
        name: what the loop calls the row.

    Raises:
        Obstacle: the tensor is a row of another one, or rows are counted in another way.
    """
    outer: Any = rw.parent(node)
    while outer is not None and outer is not rw.functions[-1]:
        if isinstance(outer, ast.For) and (tensor := _through(outer, name)) is not None:
            break
        outer = rw.parent(outer)
    else:
        return None
    if not (_is_tensor(rw, tensor.id) and _is_tensor(rw, name)):
        return None
    if row(rw, outer, tensor.id) is not None:
        said = f"writes into rows of {tensor.id}, which is a row itself; write into the tensor"
        raise Obstacle(node, said)
    return tensor, _place(rw, outer), _is_read_again(outer, node, name)


def head(rw: Any, node: ast.For) -> str | None:
    """The head of a loop that counts the rows it writes into; None where it stays."""
    if node not in rw.counted:
        return None
    target = rw.text(node.target)
    target = f"({target})" if isinstance(node.target, ast.Tuple) and target[:1] != "(" else target
    return f"for {rw.counted[node]}, {target} in enumerate({rw.text(node.iter)})"


def _is_read_again(loop: ast.For, node: ast.stmt, name: str) -> bool:
    """Whether a row is read after it was written into."""
    end = node.end_lineno, node.end_col_offset
    return any(
        (part.lineno, part.col_offset) > end
        for part in ast.walk(loop)
        if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load)
    )


def _through(loop: ast.For, name: str) -> ast.Name | None:
    """What a loop goes through under a name, where that is a name, too."""
    target, over = loop.target, loop.iter
    if _is_call(over, "enumerate") and isinstance(target, ast.Tuple):
        target, over = target.elts[1], over.args[0]  # type: ignore[attr-defined]
    if _is_call(over, "zip") and isinstance(target, ast.Tuple):
        pairs = zip(target.elts, over.args)  # type: ignore[attr-defined]
    else:
        pairs = iter([(target, over)])
    found = [o for t, o in pairs if isinstance(t, ast.Name) and t.id == name]
    return found[0] if found and isinstance(found[0], ast.Name) else None


def _place(rw: Any, loop: ast.For) -> str:
    """What the number of the row is called."""
    if _is_call(loop.iter, "enumerate") and isinstance(loop.target, ast.Tuple):
        first = loop.target.elts[0]
        if isinstance(first, ast.Name) and len(loop.iter.args) == 1:  # type: ignore[attr-defined]
            return first.id
        raise Obstacle(loop, "writes into rows that are not counted from 0; count them so")
    if loop not in rw.counted:
        rw.counted[loop] = free(rw, "place")
    return rw.counted[loop]


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == name and not node.keywords


def _is_tensor(rw: Any, name: str) -> bool:
    kinds = rw.kinds(name)
    return bool(kinds) and all(hasattr(kind, "untyped_storage") for kind in kinds)
