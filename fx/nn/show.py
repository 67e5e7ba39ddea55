"""What a description shows: its text, and hints for what torch has and it has not."""

from typing import Any

from fx.nn.describe import is_module
from fx.nn.scratch import is_scratch

HINTS = {
    "parameters": "jax.tree.leaves(params), or fx.state_dict(model, params) for names",
    "named_parameters": "fx.state_dict(model, params).items()",
    "state_dict": "fx.state_dict(model, params, state)",
    "load_state_dict": "params, state = fx.load_state_dict(model, weights)",
    "modules": "named_modules()",
    "children": "named_modules()",
    "named_children": "named_modules()",
    "get_submodule": "dict(model.named_modules())[name]; nn.replace(model, name, new) puts another",
    "buffers": "jax.tree.leaves(state)",
    "train": "model.apply(..., train=True)",
    "eval": "model.apply(..., train=False), the default; nn.eval_mode(part) for a part",
    "to": "jax.device_put(params, device), or jax.tree.map to change the dtype",
    "cuda": "nothing: arrays are made on the GPU where there is one",
    "cpu": "jax.device_get(params)",
    "zero_grad": "nothing: jax.grad returns new gradients",
    "requires_grad_": "fx.optim.freeze(optimizer, patterns), or nn.partition(params, patterns)",
    "register_forward_hook": 'model.apply(..., capture=["layer1"])',
}


def missing(module: Any, name: str) -> str:
    """What to say where a module has no attribute of that name."""
    if is_scratch(module, name):
        scope = getattr(module, "_scope", None)
        if scope is not None and (*scope.path, name) in scope.call.stayed:
            return (
                f"{scope.where()}: {name!r} is nn.Scratch, whose values do not cross nn.remat, "
                "nn.vmap, nn.Stack or functional(), and it was assigned on the other side of one; "
                "return it from the part, or give it to the part"
            )
        return (
            f"{type(module).__name__}: {name!r} is nn.Scratch, which has a value from where a "
            "method assigns it to the end of that apply; assign it first, or give it a value in "
            "__init__"
        )
    hint = f"; in fx: {HINTS[name]}" if name in HINTS else ""
    return f"{type(module).__name__!r} object has no attribute {name!r}{hint}"


def text(module: Any) -> str:
    """Print a model as PyTorch does."""
    extra = module.extra_repr()
    lines = extra.split("\n") if extra else []
    children = [(n, repr(v)) for n, v in vars(module).items() if is_module(v)]
    parts = []
    for first, last, shown, count in _runs(children, type(module)._folds):
        label = f"({first}): " if count == 1 else f"({first}-{last}): {count} x "
        parts.append(label + shown.replace("\n", "\n  "))
    if not parts and len(lines) < 2:
        return f"{type(module).__name__}({extra})"
    return f"{type(module).__name__}(\n  " + "\n  ".join(lines + parts) + "\n)"


def _runs(children: list[tuple[str, str]], folds: bool) -> list[tuple[str, str, str, int]]:
    """Equal neighbours as one entry, where the container prints them so (ModuleList)."""
    runs: list[tuple[str, str, str, int]] = []
    for name, shown in children:
        if folds and runs and runs[-1][2] == shown:
            runs[-1] = (runs[-1][0], name, shown, runs[-1][3] + 1)
        else:
            runs.append((name, name, shown, 1))
    return runs
