"""Contexts of torch that go, their block without them: gradients, precision, choice of kernels."""

import ast
from typing import Any

_DROPPED = {
    "no_grad", "autocast", "enable_grad", "inference_mode", "set_grad_enabled",
    "sdp_kernel", "sdpa_kernel", "record_function",
}  # fmt: skip


def dropped(rw: Any, node: ast.With) -> bool:
    """Whether all contexts of a `with` are such; what stops gradients is `Constant`'s affair."""
    for item in node.items:
        called = item.context_expr
        called = called.func if isinstance(called, ast.Call) else called
        if isinstance(called, ast.Attribute) and rw.held.is_context(called, rw.functions):
            continue
        known, value = rw.resolve(called)
        kernels = str(getattr(value, "__module__", "")).startswith("torch.backends")
        if not known or not (kernels or getattr(value, "__name__", "") in _DROPPED):
            return False
    return True
