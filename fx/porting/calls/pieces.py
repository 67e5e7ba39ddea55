"""`x.split(2)`, `x.split([1, 2])` and `x.chunk(2)`: `jnp.split`, which takes a number or places."""

import ast
import re
from typing import Any

from fx.porting.calls.calls import Call, ported, wrapped


def parts(call: Call) -> str:
    """The call of `jnp.split`.

    How many pieces of one size there are is a fact of the example. It is written as a number only
    where the pieces get a name each.
    """
    size = call.argument(1, "chunks" if call.key.endswith("chunk") else "split_size_or_sections")
    size = size if size is not None else call.kwargs.get("split_size")
    dim = call.argument(2, "dim")
    if size is None or not call.facts:
        raise call.obstacle("it did not run, so that what it splits is not known")
    x, again = call.text(call.args[0]), ""
    axis = call.text(dim) if dim is not None else "0"
    seen, text = _splits(call), call.text(size)
    chunk = call.key.endswith("chunk")
    if any(isinstance(asked, list | tuple) for asked, _ in seen):
        cuts = _listed(call, size, text)
    elif _is_even(call, size, axis) and chunk and not any(n % asked for asked, n in seen):
        cuts = text
    elif len(seen) == 1 and _unpacked(call):
        cuts = _numbers(*seen[0], chunk)
    else:
        x, again = call.twice(call.args[0])
        length = f"{again}.shape[{axis}]"
        step = f"-(-{length} // {wrapped(text)})" if chunk else text
        cuts = f"list(range({step}, {length}, {step}))"
    return f"jnp.split({x}, {cuts}, axis={axis})"


def _listed(call: Call, size: ast.expr, text: str) -> str:
    """The places to cut, from a list of sizes."""
    if isinstance(size, ast.List | ast.Tuple) and len(size.elts) == 2:
        return f"[{call.text(size.elts[0])}]"
    call.rewriter.uses("np", "import numpy as np")
    return f"np.cumsum({text})[:-1].tolist()"


def _numbers(asked: int, whole: int, chunk: bool) -> str:
    """How many pieces there are, or the places to cut where the last piece is shorter."""
    size = -(-whole // asked) if chunk else asked
    return str(list(range(size, whole, size))) if whole % size else str(whole // size)


def _is_even(call: Call, size: ast.expr, axis: str) -> bool:
    """Whether there are as many pieces in any call: not of a batch, or computed, in a loop."""
    number = isinstance(size, ast.Constant) and axis != "0"
    one = isinstance(call.rewriter.parent(call.node), ast.Subscript)
    return number or one or _unpacked(call)


def _unpacked(call: Call) -> bool:
    """Whether the pieces get a name each: their number is part of the program."""
    parent = call.rewriter.parent(call.node)
    targets = parent.targets if isinstance(parent, ast.Assign) else []
    return any(
        isinstance(target, ast.Tuple | ast.List)
        and not any(isinstance(each, ast.Starred) for each in target.elts)
        for target in targets
    )


def _splits(call: Call) -> list[tuple[Any, int]]:
    """What was asked for, and the length of what was split, each pair once."""
    found: list[tuple[Any, int]] = []
    for fact in call.facts:
        x, *rest = fact.args
        named = [v for k, v in fact.kwargs.items() if k != "dim"]
        axis = fact.kwargs.get("dim", rest[1] if len(rest) > 1 else 0)
        pair = (rest or named)[0], x.shape[axis]
        found += [pair] * (pair not in found)
    return found


def joined(call: Call) -> str:
    """`torch.cat(parts, dim)`, of which one may be `torch.tensor([])`, which joins anything."""
    text = ported(call)
    shapes = [[part.shape for part in fact.args[0] if hasattr(part, "shape")]
              for fact in call.facts if isinstance(fact.args[0], list | tuple)]  # fmt: skip
    empty = any((0,) in each and any(len(shape) > 1 for shape in each) for each in shapes)
    if not empty or not (found := re.fullmatch(r"jnp\.concatenate\((.*), axis=([^,]*)\)", text)):
        return text
    parts = f"[part for part in {found[1]} if part.shape != (0,)]"
    return f"jnp.concatenate({parts}, axis={found[2]})"


def as_a_whole(call: Call, nodes: list[ast.expr]) -> tuple[str, int]:
    """Sizes that come as lists, `x.expand(*sizes, 3)`, with -1 among them, and how many are new.

    "" for others: sizes that are written out, and those without -1.
    """
    one = len(nodes) == 1
    if not one and not any(isinstance(node, ast.Starred) for node in nodes):
        return "", 0
    asked = [fact.args[1:] for fact in call.facts]
    asked = [each[0] if each and isinstance(each[0], list | tuple) else each for each in asked]
    new = {len(sizes) - len(fact.args[0].shape) for sizes, fact in zip(asked, call.facts)}
    if not any(-1 in sizes for sizes in asked) or all(len(sizes) == 1 for sizes in asked):
        return "", 0
    if len(new) != 1:
        raise call.obstacle("how many axes are new differs; write the sizes out")
    alone = nodes[0].value if isinstance(nodes[0], ast.Starred) else nodes[0]
    text = call.text(alone) if one else f"({', '.join(map(call.text, nodes))})"
    return text, min(new)
