"""Conditions that are known while a port is written: whether a compiler of torch's is at work."""

import ast
from typing import Any

from fx.porting.calls import observed
from fx.porting.read import flags
from fx.porting.read.names import torch_name

FALSE = {
    "torch.jit.is_scripting", "torch.jit.is_tracing", "torch.onnx.is_in_onnx_export",
    "torch.compiler.is_compiling", "torch._dynamo.is_compiling",
    "torch.compiler.is_exporting", "torch.compiler.is_dynamo_compiling",
    "torch.cuda.is_available", "torch.xpu.is_available", "torch.backends.mps.is_available",
    "torch.distributed.is_available", "torch.distributed.distributed_c10d.is_initialized",
}  # fmt: skip


def decided(rw: Any, node: ast.expr) -> bool | str | None:
    """True or False where torch's compilers decide, the rest of a test, or None if untouched."""
    if isinstance(node, ast.Call):
        known, value = rw.resolve(node.func)
        if known and (torch_name(value) or "") in FALSE:
            return False
        if known and getattr(value, "__name__", "") in (
            "is_exportable",
            "is_scriptable",
            "_is_tracing",
        ):
            return False
        if (said := observed.answer(rw, node)) is not None:
            return said
        return False if observed.kinds(rw, node) == "False" else flags.decided(rw, node)
    if isinstance(node, ast.Compare):
        there = observed.is_there(rw, node)
        return flags.decided(rw, node) if there is None else there
    if isinstance(node, ast.Attribute | ast.Subscript):
        return flags.decided(rw, node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = decided(rw, node.operand)
        return not inner if isinstance(inner, bool) else None
    if isinstance(node, ast.BoolOp):
        values = [decided(rw, each) for each in node.values]
        stops = isinstance(node.op, ast.Or)
        if stops in [v for v in values if isinstance(v, bool)]:
            return stops
        rest = [n for n, v in zip(node.values, values) if not isinstance(v, bool)]
        if len(rest) == len(values):
            return None
        word = " or " if stops else " and "
        return word.join(rw.text(n) for n in rest) if rest else not stops
    return None
