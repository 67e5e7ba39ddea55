"""A call of torch in the ported text: its arguments put into the right side of a rule."""

import ast
from dataclasses import dataclass
from typing import Any

from fx.porting.calls.named import named
from fx.porting.pairs import rules
from fx.porting.read.names import Obstacle
from fx.porting.read.record import Fact, Shape

# Where an array is, and how it is laid out, is XLA's affair; gradients are taken of functions.
DROP = "\x00"  # stands for a statement that is left out
MARK = "\x01"  # encloses the line of the original that a statement begins on
DROPPED = {"device", "pin_memory", "requires_grad", "layout", "non_blocking", "memory_format"}
SYNONYMS = {"axis": "dim", "keepdims": "keepdim", "input": "x", "self": "x", "fill_value": "value"}
_PLAIN = ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant | ast.Tuple | ast.List
_PLAIN |= ast.Dict | ast.ListComp | ast.JoinedStr | ast.NamedExpr


@dataclass
class Call:
    """A call of a torch function, the receiver of a method first among its arguments."""

    key: str
    node: ast.Call
    args: list[ast.expr]
    kwargs: dict[str, ast.expr]
    facts: list[Fact]
    rewriter: Any

    def text(self, node: ast.expr) -> str:
        """The ported text of an argument."""
        return self.rewriter.text(node)

    def argument(self, place: int, name: str) -> ast.expr | None:
        """An argument by position or name."""
        if place < len(self.args):
            return self.args[place]
        return self.kwargs.get(name)

    def twice(self, node: ast.expr) -> tuple[str, str]:
        """The text of an argument where it is read first, and where it is read again."""
        text = self.text(node)
        return (text, text) if simple(text) else named(self, text)

    def axis(self, node: ast.expr, place: int = 1, name: str = "dim") -> str:
        """The text of an axis: a number where it is one, an attribute's where it always was one."""
        own = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
        inside = getattr(self.rewriter, "functions", [])[-1:]
        given = [arg.arg for each in inside for arg in ast.walk(each) if isinstance(arg, ast.arg)]
        argument = isinstance(node, ast.Name) and node.id in given
        own = own or argument
        seen = {(*f.args, *(None for _ in range(place)))[place] for f in self.facts if own}
        seen |= {fact.kwargs.get(name) for fact in self.facts if own} - {None}
        seen -= {None} if len(seen) > 1 else set()
        said = seen.pop() if len(seen) == 1 else None
        if not isinstance(said, int):
            return self.text(node)
        if argument:
            where = f"{self.rewriter.place.module.rpartition('.')[2]}.py:{node.lineno}"
            self.rewriter.notes.append(
                f"{where}: {node.id} is {said} here, as in each call that ran"
            )  # type: ignore[attr-defined]
        return str(said)

    def receiver(self) -> str:
        """The text of the tensor, as what stands before a dot."""
        return wrapped(self.text(self.args[0]))

    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the first argument that were seen."""
        firsts = (next(iter(fact.args), fact.kwargs.get("input")) for fact in self.facts)
        return [first.shape for first in firsts if isinstance(first, Shape)]

    def obstacle(self, message: str) -> Obstacle:
        """An error about this call."""
        return Obstacle(self.node, f"{ast.unparse(self.node)[:80]}: {message}")


_INSTEAD = {
    "torch.autograd.grad": "; make what is between x and y a function f, and take jax.grad(f)(x), "
    "or jax.vjp(f, x)[1](grad_outputs)[0]",
}


def ported(call: Call) -> str:
    """The text that takes a call's place by the rules.

    Raises:
        Obstacle: no rule fits.
    """
    found, several = rules.of(call.key)
    for left, right in several:
        bound = _bind(call, left, found.startswith("Tensor."))
        if bound is not None:
            return _fill(call, right, *bound)
    if several:
        raise call.obstacle("no rule for these arguments; write it with jax.numpy first")
    raise call.obstacle(f"{call.key} has no counterpart here{_INSTEAD.get(call.key, '')}")


def _parsed(text: str) -> ast.expr:
    """An expression that may go over several lines."""
    return ast.parse(f"({text.strip()}\n)", mode="eval").body


def one_line(text: str) -> str:
    """An expression that may go over several lines, on one."""
    return ast.unparse(_parsed(text)) if "\n" in text else text


def plain(text: str) -> bool:
    """Whether an expression can stand before a dot without parentheses."""
    return isinstance(_parsed(text), _PLAIN) or _enclosed(text.strip())


def _enclosed(text: str) -> bool:
    """Whether an expression has parentheses around it."""
    try:
        return text[:1] == "(" and text[-1:] == ")" and bool(ast.parse(text[1:-1].strip()))
    except SyntaxError:  # those of two parts
        return False


def whole(text: str) -> str:
    """An expression that can stand after `=`: one of several lines may need parentheses."""
    try:
        ast.parse(text)
    except SyntaxError:
        return f"({text})"
    return text


def wrapped(text: str) -> str:
    """An expression that can stand before a dot."""
    return text if plain(text) else f"({text})"


def simple(text: str) -> bool:
    """Whether an expression may be written twice: a number, a name, or attributes of one."""
    node = _parsed(text)
    number = node.operand if isinstance(node, ast.UnaryOp) else node
    names = ast.Name | ast.Attribute | ast.expr_context
    return isinstance(number, ast.Constant) or all(isinstance(n, names) for n in ast.walk(node))


def tupled(text: str) -> str:
    """A list that is written out, as a tuple: jax.numpy's axes and shapes are tuples."""
    node = _parsed(text)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "list":
        return f"tuple{text.strip()[4:]}"
    if isinstance(node, ast.List):
        inner = text.strip()[1:-1].strip().rstrip(",")
        return f"({inner},)" if len(node.elts) == 1 else f"({inner})"
    return text


def _bind(call: Call, left: ast.Call, method: bool) -> tuple[dict, dict] | None:
    """Texts by the rule's names, and defaults of those not given; None if the call does not fit."""
    places: list[tuple[str, bool]] = [("x", False)] if method else []
    for arg in left.args:
        starred = isinstance(arg, ast.Starred)
        inner = arg.value if isinstance(arg, ast.Starred) else arg
        places.append((inner.id, starred))  # type: ignore[attr-defined]
    defaults = {k.arg or "": ast.unparse(k.value) for k in left.keywords}
    required = [name for name, _ in places]
    places += [(name, False) for name in defaults]
    given: dict[str, Any] = {}
    rest = list(call.args)
    for name, many in places:
        if many:
            given[name], rest = rest, []
        elif rest:
            if isinstance(rest[0], ast.Starred):
                return None
            given[name] = rest.pop(0)
    names = [name for name, _ in places]
    for name, value in call.kwargs.items():
        name = name if name in names else SYNONYMS.get(name, name)
        variadic = next((n for n, many in places if many and name in (n, "size", "dims")), None)
        if variadic and not given.get(variadic):
            given[variadic] = [value]
        elif name in names and name not in given:
            given[name] = value
        elif name not in DROPPED:
            return None
    if rest or any(name not in given for name in required):
        return None
    if any(given[name] == [] for name, many in places if many):
        return None
    return given, defaults


def _fill(call: Call, right: ast.expr, given: dict, defaults: dict) -> str:
    """The right side of a rule with the arguments' texts in place of its names."""
    texts = _texts(call, given)
    shape = {name: _tuple(call, value) for name, value in given.items() if isinstance(value, list)}
    if isinstance(right, ast.Name):
        return texts[right.id]
    first: dict[str, str] = {}  # the mark where an argument is read first
    marks: dict[str, str] = {}

    class Put(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> Any:
            node.keywords = [
                k for k in node.keywords
                if not (isinstance(k.value, ast.Name) and k.value.id in defaults
                        and k.value.id not in texts)
            ]  # fmt: skip
            node.args = [
                a for a in node.args
                if not (isinstance(a, ast.Name) and a.id not in texts
                        and defaults.get(a.id) == "None")
            ]  # fmt: skip
            return self.generic_visit(node)

        def visit_Name(self, node: ast.Name) -> Any:
            name = node.id
            if name == "KEY":
                text = call.rewriter.key(call.node)
            elif name in shape and not getattr(node, "starred", False):
                text = shape[name]
            elif name in texts:
                text = texts[name]
                if name in first and not simple(text):
                    marks[first[name]], text = named(call, text)
                    texts[name] = text
                first.setdefault(name, f"mark{len(marks)}_")
            elif name in defaults:
                text = defaults[name]
            else:
                return node
            mark = f"mark{len(marks)}_"
            marks[mark] = (
                text if getattr(node, "loose", False) or plain_enough(text) else (f"({text})")
            )
            return ast.Name(mark)

        def visit_Starred(self, node: ast.Starred) -> Any:
            node.value.starred = node.value.loose = True  # type: ignore[attr-defined]
            return self.visit(node.value)

    tree = _loosened(ast.parse(ast.unparse(right), mode="eval").body)
    text = ast.unparse(Put().visit(tree))
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text


def _texts(call: Call, given: dict) -> dict[str, str]:
    """The arguments of a call as text, by the names that a rule has for them."""
    texts: dict[str, str] = {}
    for name, value in given.items():
        if name == "kind":
            continue  # a type for TorchScript
        if isinstance(value, list):
            texts[name] = ", ".join(call.text(each) for each in value)
        else:
            text = call.text(value)
            texts[name] = tupled(text) if name.startswith("dim") else text
    return texts


def plain_enough(text: str) -> bool:
    """Whether a text needs no parentheses anywhere."""
    try:
        return plain(text)
    except SyntaxError:  # several arguments
        return True


def _loosened(tree: ast.expr) -> ast.expr:
    """Mark the names that stand where any expression may: as arguments and in slices."""
    for node in ast.walk(tree):
        places: list[Any] = []
        if isinstance(node, ast.Call):
            places = [*node.args, *(k.value for k in node.keywords)]
        elif isinstance(node, ast.Subscript):
            places = [node.slice]
        elif isinstance(node, ast.Tuple | ast.List):
            places = list(node.elts)
        for place in places:
            place.loose = True
    return tree


def _tuple(call: Call, values: list[ast.expr]) -> str:
    """Loose numbers, or one tuple, as one tuple."""
    texts = [call.text(value) for value in values]
    if len(values) > 1:
        return f"({', '.join(texts)})"
    if isinstance(values[0], ast.Starred):
        return f"({texts[0]},)"
    if isinstance(values[0], ast.Constant):
        return f"({texts[0]},)"
    return tupled(texts[0])
