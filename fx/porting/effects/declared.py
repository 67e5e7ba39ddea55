"""`nn.Parameter(tensor)` and `register_buffer` as a shape and an initialiser."""

import ast
from typing import Any

from fx.porting.calls.calls import DROP, Call, tupled, wrapped
from fx.porting.calls.creation import are_numbers


def parameter(call: Call) -> str:
    """`nn.Parameter(torch.zeros(3))`: a shape and an initialiser; a buffer where it is frozen.

    Raises:
        Obstacle: a forward gives a module another parameter.
    """
    value, trained = call.argument(0, "data"), call.argument(1, "requires_grad")
    place = call.rewriter.place.file, call.node.lineno
    if place in call.rewriter.held.lines and _is_given(call):
        raise call.obstacle(
            "a forward makes a parameter anew, and optimizers know none that come later; have "
            "register_buffer make it in the constructor, and forward assign the tensor itself"
        )
    said = "True" if trained is None else call.text(trained)
    kind = {"True": "nn.Parameter", "False": "nn.Buffer"}.get(said)
    kind = kind or f"(nn.Parameter if {said} else nn.Buffer)"
    declared = _declared(call, value) if value is not None else None
    if declared:
        return f"{kind}({declared})"
    return f"{kind}({call.text(value) if value is not None else 'jnp.zeros(0)'})"


def _is_given(call: Call) -> bool:
    """Whether what a call makes goes into an attribute, of a part too."""
    around = call.rewriter.parent(call.node)
    targets = around.targets if isinstance(around, ast.Assign) else []
    return any(isinstance(target, ast.Attribute) for target in targets)


def _divided(call: Call, node: ast.expr) -> tuple[str | None, ast.expr]:
    """What is divided, and by what it is multiplied: torch.randn(3) / 2, torch.randn(3).div_(2)."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return f"1 / {wrapped(call.text(node.right))}", node.left
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 1:
        word = node.func.attr.removesuffix("_")
        if word in ("div", "mul") and isinstance(node.func.value, ast.Call):
            text = wrapped(call.text(node.args[0]))
            return (f"1 / {text}" if word == "div" else text), node.func.value
    return None, node


def _filled(call: Call, node: ast.expr) -> str | None:
    """Shape and initialiser of torch.empty(...).normal_(std=0.02) and the like."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    kind = {"fill_": "constant", "normal_": "normal", "uniform_": "uniform"}.get(node.func.attr)
    made = _declared(call, node.func.value) if kind else None
    if made is None:
        return None
    given = [call.text(arg) for arg in node.args]
    names = {"from": "a", "to": "b"}
    given += [f"{names.get(k.arg or '', k.arg)}={call.text(k.value)}" for k in node.keywords]
    return f"{made.rpartition(', nn.init.')[0]}, nn.init.{kind}({', '.join(given)})"


def _declared(call: Call, node: ast.expr) -> str | None:
    """Shape and initialiser of torch.zeros(...), 0.02 * torch.randn(...) and the like."""
    filled = _filled(call, node)
    if filled is not None:
        return filled
    factor, node = _divided(call, node)
    if factor is None and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = [node.left, node.right]
        made = [side for side in sides if isinstance(side, ast.Call)]
        if len(made) != 1:
            return None
        other, node = sides[1 - sides.index(made[0])], made[0]
        if isinstance(other, ast.Name) and _is_tensor(call.rewriter.kinds(other.id)):
            return None  # numbers times numbers
        factor = call.text(other)
    if not isinstance(node, ast.Call):
        return None
    key, _ = call.rewriter.torch_key(node)
    word = (key or "").removeprefix("torch.")
    kinds = dict.fromkeys(("zeros", "empty", "Tensor", "FloatTensor"), "zeros") | {"ones": "ones"}
    shape = [arg for arg in node.args]
    if {k.arg for k in node.keywords} - {"device", "dtype", "requires_grad", "size"} or not shape:
        return None
    if any(k.arg == "dtype" and ast.unparse(k.value) != "torch.float32" for k in node.keywords):
        return None
    if word.endswith("Tensor") and are_numbers(call, shape[0]):
        return None
    if word == "full" and len(shape) == 2 and factor is None:
        return f"{tupled(call.text(shape[0]))}, nn.init.constant({call.text(shape[1])})"
    sizes = [call.text(each) for each in shape]
    if len(sizes) == 1 and not isinstance(shape[0], ast.Starred):
        text = tupled(sizes[0])
    else:
        text = f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"
    if isinstance(shape[0], ast.Constant | ast.Name) and len(sizes) == 1:
        text = f"({sizes[0]},)" if isinstance(shape[0], ast.Constant) else text
    if word == "randn":
        return f"{text}, nn.init.normal({f'std={factor}' if factor else ''})"
    if word == "rand":
        return f"{text}, nn.init.uniform({f'b={factor}' if factor else ''})"
    if word in kinds:
        constant = f"nn.init.constant({factor})" if factor and word == "ones" else None
        return f"{text}, {constant or 'nn.init.' + kinds[word]}"
    return None


def _is_tensor(kinds: set[type]) -> bool:
    """Whether a name stood for tensors."""
    return any(kind.__module__.partition(".")[0] == "torch" for kind in kinds)


def read(rw: Any, node: ast.Attribute) -> str | None:
    """A buffer that a constructor gives to a function: a declaration, which jitted ones refuse."""
    around, place = rw.parent(node), (rw.place.file, node.lineno)
    if not (isinstance(around, ast.Call) and node in around.args and rw.functions):
        return None
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    if ast.unparse(node.value) != "self" or (owner, node.attr) not in rw.held.buffers:
        return None
    known = (rw.torch_key(around)[0] or "").startswith("torch.")
    return f"jnp.asarray(self.{node.attr})" if known and place not in rw.held.lines else None


def buffer(rw: Any, node: ast.Call) -> str | None:
    """`self.register_buffer("b", torch.randn(3))` as a declaration, which draws its own key."""
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "register_buffer"):
        return None
    if len(node.args) == 2 and ast.unparse(node.args[1]).endswith(".to_sparse()"):
        rw.notes.append(f"{rw.where(node)}: a sparse buffer was left out")
        return DROP
    if len(node.args) != 2 or "rand" not in ast.unparse(node.args[1]):
        return None
    name, owner = getattr(node.args[0], "value", None), rw.text(node.func.value)
    made = _declared(Call("nn.Buffer", node, [], {}, [], rw), node.args[1])
    given = [f"{k.arg}={rw.text(k.value)}" for k in node.keywords]
    buffer = f"nn.Buffer({', '.join([made or '', *given])})"
    if not isinstance(name, str):
        return f"setattr({owner}, {rw.text(node.args[0])}, {buffer})" if made else None
    return f"{owner}.{name} = {buffer}" if made else None


def is_tensor(rw: Any, node: ast.Assign, target: ast.expr) -> bool:
    """Whether a constructor assigns a tensor that is neither a parameter nor a buffer."""
    if not (rw.functions and isinstance(target, ast.Attribute)):
        return False
    if (rw.place.file, node.lineno) in rw.held.lines or ast.unparse(target.value) != "self":
        return False
    owner = getattr(rw.parent(rw.functions[0]), "name", "")
    return (owner, target.attr) in rw.held.tensors and ast.unparse(node.value) != "None"


def unregistered(rw: Any, node: ast.expr, target: Any) -> str:
    """A tensor that is neither as a buffer outside of the state_dict; None in some parts."""
    if "rand" in ast.unparse(node):  # which draws its own key, as a declaration
        drawn: Any = Call("nn.Buffer", node, [], {}, [], rw)  # type: ignore[arg-type]
        if (made := _declared(drawn, node)) is not None:
            return f"nn.Buffer({made}, persistent=False)"
    text, owner = rw.text(node), getattr(rw.parent(rw.functions[0]), "name", "")
    buffer = f"nn.Buffer({text}, persistent=False)"
    if (owner, target.attr) not in rw.held.nones:
        return buffer
    if not isinstance(node, ast.Name):
        buffer, text = "nn.Buffer(values, persistent=False)", f"(values := {text})"
    return f"{buffer} if {text} is not None else None"


def table(rw: Any, node: ast.Assign, target: ast.expr) -> str | None:
    """A list or a dict of tensors that torch does not register, of buffers; None for others."""
    kind = _table(rw, node, target) if isinstance(target, ast.Attribute) else None
    if kind is None:
        return None
    text = rw.text(node.value)
    buffers = f"[nn.Buffer(each, persistent=False) for each in {text}]"
    if kind == "Dict":
        buffers = f"{{k: nn.Buffer(v, persistent=False) for k, v in {wrapped(text)}.items()}}"
    empty = ast.unparse(node.value) in ("[]", "{}", "list()", "dict()")
    return f"{rw.text(target)} = nn.Parameter{kind}({'' if empty else buffers})"


def appended(rw: Any, node: ast.Call) -> str | None:
    """`self.anchors.append(tensor)` in a constructor, of a buffer; None for other calls."""
    method = node.func
    if not (isinstance(method, ast.Attribute) and method.attr == "append" and len(node.args) == 1):
        return None
    if not (isinstance(method.value, ast.Attribute) and _table(rw, node, method.value)):
        return None
    return f"{rw.text(method)}(nn.Buffer({rw.text(node.args[0])}, persistent=False))"


def _table(rw: Any, node: Any, target: ast.Attribute) -> str | None:
    """Where a constructor writes to an attribute that holds several tensors: "List" or "Dict"."""
    runs = (rw.place.file, node.lineno) in rw.held.lines
    if runs or not rw.functions or ast.unparse(target.value) != "self":
        return None
    return rw.held.tables.get((getattr(rw.parent(rw.functions[0]), "name", ""), target.attr))


def is_anew(rw: Any, node: ast.Assign, target: ast.expr) -> bool:
    """Whether a constructor gives a buffer that it has registered another value."""
    if ast.unparse(node.value) == "None" or anew(rw, node, target, "") is None:
        return False
    key = rw.torch_key(node.value)[0] if isinstance(node.value, ast.Call) else None
    return not (key or "").endswith((".Buffer", ".Parameter"))


def anew(rw: Any, node: ast.stmt, target: ast.expr, value: str) -> str | None:
    """What a constructor has made of a buffer, or of a tensor that is none, declared once more."""
    if not (isinstance(target, ast.Attribute) and rw.functions):
        return None
    pair = getattr(rw.parent(rw.functions[0]), "name", ""), target.attr
    ran = (rw.place.file, node.lineno) in rw.held.lines
    if (
        ran
        or ast.unparse(target.value) != "self"
        or pair not in {*rw.held.buffers, *rw.held.tensors}
    ):
        return None
    return (
        f"nn.Buffer({value})"
        if pair in rw.held.buffers
        else f"nn.Buffer({value}, persistent=False)"
    )


def tie(rw: Any, node: ast.stmt, alias: str, source: str) -> str:
    """`self.decoder.bias = self.bias`, where the decoder may have been made without one."""
    part, _, rest = alias.partition(".")
    made = [
        ast.unparse(each.value) for each in ast.walk(rw.functions[-1])
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == f"self.{part}"
    ]  # fmt: skip
    tied = f'nn.tie(self, "{alias}", "{source}")'
    if rest != "bias" or not any("bias=False" in text for text in made):
        return tied
    put = f'self.{part} = nn.replace(self.{part}, "bias", self.{source})'
    return f"{put}\n{' ' * node.col_offset}{tied}"
