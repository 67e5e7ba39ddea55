"""Tensors that are made of numbers or of a shape: `torch.Tensor`, `x.new`, `torch.arange`."""

import ast
import re
from typing import Any

import numpy as np

from fx.porting.calls.calls import Call, ported, wrapped
from fx.porting.read.names import DTYPES, Obstacle
from fx.porting.read.record import Shape

SPREAD = ("zeros", "ones", "full", "empty", "arange", "linspace", "eye", "tensor", "as_tensor")
KINDS = ("", "Float", "Long", "Int", "Byte", "Bool")


def made(call: Call) -> str:
    """`torch.Tensor([1, 2])`: numbers; `torch.Tensor(2, 3)`: a shape. The name has the dtype."""
    kind = call.key.rpartition(".")[2].removesuffix("Tensor")
    dtype = _dtype(kind)
    if len(call.args) == 1 and are_numbers(call, call.args[0]):
        place = "np" if kind == "Int" and isinstance(call.args[0], ast.List) else "jnp"
        if place == "np":  # sizes, which a program then cuts with: `x[:, :n]`
            call.rewriter.uses("np", "import numpy as np")
        return f"{place}.array({call.text(call.args[0])}, {dtype})"
    if len(call.args) == 1 and _is_size(call.args[0]):
        shape = call.text(call.args[0])
        return f"jnp.zeros({shape})" if kind in ("", "Float") else f"jnp.zeros({shape}, {dtype})"
    if len(call.args) == 1 and not _is_number(call, call.args[0]):
        raise call.obstacle("numbers and shapes look alike here; write torch.tensor or torch.zeros")
    shape = f"({', '.join(map(call.text, call.args))},)"
    return f"jnp.zeros({shape})" if kind in ("", "Float") else f"jnp.zeros({shape}, {dtype})"


def new(call: Call) -> str:
    """`x.new(2, 3)`: a shape; `x.new([2, 3])`: numbers, of x's dtype."""
    given, x = call.args[1:], call.receiver()
    if len(given) == 1 and are_numbers(call, given[0]):
        return f"jnp.array({call.text(given[0])}, {x}.dtype)"
    if len(given) == 1 and _is_size(given[0]):
        return f"jnp.zeros({call.text(given[0])}, {x}.dtype)"
    kinds = {type(part) for fact in call.facts for part in fact.args[1:]}
    if not given or not kinds <= {int}:
        raise call.obstacle("numbers and shapes look alike here; write x.new_zeros or x.new_tensor")
    return f"jnp.zeros(({', '.join(map(call.text, given))},), {x}.dtype)"


def _is_number(call: Call, node: ast.expr) -> bool:
    """Whether an expression was a whole number when it ran."""
    if isinstance(node, ast.BinOp):
        return _is_number(call, node.left) and _is_number(call, node.right)
    kinds = call.rewriter.kinds(node.id) if isinstance(node, ast.Name) else set()
    return isinstance(node, ast.Constant) or kinds == {int}


def _is_size(node: ast.expr) -> bool:
    """Whether it is the shape of a tensor, all of it."""
    return ast.unparse(node).endswith((".size()", ".shape"))


def variable(call: Call) -> str:
    """`torch.autograd.Variable(x)`: today `x.detach()`."""
    if len(call.args) != 1 or call.kwargs.keys() - {"requires_grad", "volatile"}:
        raise call.obstacle("no rule for these arguments; write the tensor itself")
    (x,) = call.args
    key = call.rewriter.torch_key(x)[0] if isinstance(x, ast.Call) else None
    word = (key or "").rpartition(".")[2]
    anew = word in (*SPREAD, "rand", "randn", "new", "from_numpy") or word.startswith("new_")
    text = call.text(x)
    return text if anew or word.endswith("Tensor") else f"jax.lax.stop_gradient({text})"


def copied(call: Call) -> str:
    """`torch.tensor(y)` of a tensor has no gradient."""
    text = ported(call)
    place = 1 if call.key.startswith("Tensor.") else 0
    given = [fact.args[place] for fact in call.facts if len(fact.args) > place]
    given = [part for each in given for part in (each if isinstance(each, list) else [each])]
    floats = [g for g in given if isinstance(g, Shape) and "float" in g.dtype]
    return f"jax.lax.stop_gradient({text})" if floats and call.rewriter.functions else text


def integers(call: Call) -> str:
    """`torch.randint(0, 5, (2, 3), dtype=x.dtype)`: whole numbers as floats, maybe."""
    dtype = call.kwargs.get("dtype")
    kinds = [str(fact.kwargs.get("dtype")) for fact in call.facts]
    if dtype is None or not any("float" in kind for kind in kinds):
        return ported(call)
    call.kwargs = {name: value for name, value in call.kwargs.items() if name != "dtype"}
    return f"{ported(call)}.astype({call.text(dtype)})"


def uniform(call: Call) -> str:
    """`torch.rand(2, 3, dtype=torch.cfloat)`: both parts of complex numbers are drawn."""
    dtype = call.kwargs.get("dtype")
    if dtype is None or "complex" not in call.text(dtype):
        return ported(call)
    call.kwargs = {name: value for name, value in call.kwargs.items() if name != "dtype"}
    return f"jax.lax.complex({ported(call)}, {ported(call)})"


def arange(call: Call) -> str:
    """`torch.arange(n, out=torch.LongTensor(n))`: what is filled need not be made."""
    filled = call.kwargs.get("out")
    key = call.rewriter.torch_key(filled)[0] if isinstance(filled, ast.Call) else None
    kind = (key or "").rpartition(".")[2].removesuffix("Tensor")
    if not kind or kind not in KINDS:
        return ported(call)
    call.kwargs = {name: value for name, value in call.kwargs.items() if name != "out"}
    return f"{wrapped(ported(call))}.astype({_dtype(kind)})"


def spread(rw: Any, node: ast.Call, key: str, facts: list) -> str:
    """`torch.zeros(n, **{"device": x.device, "dtype": x.dtype})`: JAX takes both words, too."""
    rest = [keyword for keyword in node.keywords if keyword.arg]
    by_name = [keyword.value for keyword in node.keywords if not keyword.arg]
    if key.rpartition(".")[2] in SPREAD and len(by_name) == 1:
        plain = ast.copy_location(ast.Call(node.func, node.args, rest), node)
        text = rw._known(plain, key, facts) or ""
        if re.fullmatch(r"jnp\.\w+\(.*\)", text, re.S):
            return f"{text[:-1]}, **{rw.text(by_name[0])})"
    raise Obstacle(node, f"{key} with ** is not rewritten")


def _dtype(kind: str) -> str:
    """The dtype of `torch.LongTensor` by the word before "Tensor"."""
    return f"jnp.{DTYPES[{'Byte': 'uint8', '': 'float'}.get(kind, kind.lower())]}"


def are_numbers(call: Call, node: ast.expr) -> bool:
    """Whether an expression is a list, an array or a tensor, and neither a number nor a size."""
    if isinstance(node, ast.List | ast.Tuple | ast.ListComp | ast.Compare):
        return True
    if isinstance(node, ast.BinOp):
        return are_numbers(call, node.left) or are_numbers(call, node.right)
    if isinstance(node, ast.UnaryOp):
        return are_numbers(call, node.operand)
    if isinstance(node, ast.Subscript):
        return False
    if isinstance(node, ast.Call):
        if ast.unparse(node.func) in ("range", "list", "tuple"):
            return True
        known, value = call.rewriter.resolve(node.func)
        return known and (getattr(value, "__module__", "") or "").partition(".")[0] == "numpy"
    return isinstance(node, ast.Name) and _of_numbers(call.rewriter.kinds(node.id))


def _of_numbers(kinds: set[type[Any]]) -> bool:
    """Whether a name stood for lists, arrays or tensors."""
    import torch

    return bool(kinds) and all(
        issubclass(kind, list | np.ndarray | torch.Tensor)
        or (issubclass(kind, tuple) and not issubclass(kind, torch.Size))
        for kind in kinds
    )


def kind(call: Call) -> str:
    """`x.type()`: the name of a class, as where the model ran."""
    import torch

    seen = {getattr(fact.args[0], "dtype", "") for fact in call.facts}
    if len(seen) != 1:
        raise call.obstacle("it had several types, or did not run; compare dtypes")
    return repr(torch.empty(0, dtype=getattr(torch, seen.pop().removeprefix("torch."))).type())
