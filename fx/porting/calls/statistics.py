"""`F.batch_norm` and `F.instance_norm`: torch writes running statistics in place, fx returns them.

    y = F.batch_norm(x, self.mean, self.var, None, None, self.training)

    y, (running_mean, running_var) = F.batch_norm(x, self.mean, self.var, ...)
    if running_mean is not None:
        self.mean, self.var = running_mean, running_var

Statistics that are no attributes, a copy for one call say, are dropped as torch drops them.
"""

import ast
from typing import Any

from fx.porting.calls.calls import Call
from fx.porting.read.names import Obstacle
from fx.porting.read.sources import local_names

NORMS = ("batch_norm", "instance_norm")


def written(call: Call, text: str) -> str:
    """The text of a call, whose statistics are dropped where they are no attributes.

    Raises:
        Obstacle: they are, and it stands in an expression.
    """
    parent = call.rewriter.parent(call.node)
    alone = isinstance(parent, ast.Return) or (
        isinstance(parent, ast.Assign) and len(parent.targets) == 1
    )
    if _kept(call.rewriter, call.node) and not alone:
        raise call.obstacle("it writes statistics; give its result a line of its own, y = ...")
    return f"{text}[0]"


def statement(rw: Any, node: Any) -> str | None:
    """An assignment or a return of such a call; None for any other."""
    call = node.value
    key, _ = rw.torch_key(call) if isinstance(call, ast.Call) else (None, [])
    kept = _kept(rw, call) if key in [f"F.{word}" for word in NORMS] else None
    if kept is None:
        return None
    if rw.parent(node).lineno == node.lineno:
        raise Obstacle(node, f"{key} writes statistics; put the statement on a line of its own")
    text, pad, taken = rw.text(call).removesuffix("[0]"), " " * node.col_offset, set()
    if rw.functions:
        taken = local_names(rw.functions[0])
    mean, var, result = (
        name + "_" * (name in taken) for name in ("running_mean", "running_var", "outputs")
    )
    ends = isinstance(node, ast.Return)
    target = result if ends else rw.source.segment(node.targets[0])
    test = f"{mean} is not None"
    if any("track_running_stats" in ast.unparse(each) for each in call.args):
        test = "self.training and self.track_running_stats"
    return (
        f"{target}, ({mean}, {var}) = {text}\n{pad}if {test}:\n"
        f"{pad}    {kept[0]}, {kept[1]} = {mean}, {var}" + f"\n{pad}return {result}" * ends
    )


def _kept(rw: Any, call: ast.Call) -> tuple[str, str] | None:
    """The attributes that hold the statistics which a call writes; None where it writes none."""
    if not (rw.functions and rw.functions[0].args.args[:1]):
        return None
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    given: list[Any] = [*call.args, *[None] * 6][:6]
    both = [given[1] or named.get("running_mean"), given[2] or named.get("running_var")]
    training = given[5] or named.get("training", named.get("use_input_stats"))
    if training is None or ast.unparse(training) == "False":
        return None
    both = [each.body if isinstance(each, ast.IfExp) else each for each in both]
    texts = [ast.unparse(each) if each is not None else "" for each in both]
    own = all(text.startswith("self.") and text.count(".") == 1 for text in texts)
    return (texts[0], texts[1]) if own else None
