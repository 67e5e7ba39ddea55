"""A class of the user's in the ported file: what ran of it, or can be written."""

import ast
import dataclasses
import re
from typing import Any

from fx.porting.calls.calls import DROP, MARK
from fx.porting.model import bound
from fx.porting.model.bases import Bases
from fx.porting.model.layout import Made, lines
from fx.porting.model.numbers import literal
from fx.porting.model.tree import CONTAINERS, Tree, module_type
from fx.porting.read.live import nameable, torch_base
from fx.porting.read.names import Obstacle, is_function, need
from fx.porting.read.sources import Place
from fx.porting.text.blocks import tried
from fx.porting.text.heads import kept
from fx.porting.text.initial import docstring
from fx.porting.text.rewrite import Rewriter


class Classes:
    """Writes classes; `tree` is what the live model was found to be."""

    def __init__(self, writer: Any, tree: Tree):
        self.writer, self.tree = writer, tree
        self.bases = Bases(writer.record, tree, writer.held.lines)

    def text(self, rw: Rewriter, place: Place, kind: type, name: str) -> str:
        """A class: its bases, and of its body what ran or can be written."""
        node = place.node
        head = self.bases.texts(rw, node, kind)
        fields, methods, stopped, gone = [], [], [], set()
        chosen = sorted(self.tree.forwards.get(kind, ()))
        if len(chosen) > 1:
            raise Obstacle(node, f"its objects have different forwards: {', '.join(chosen)}")
        chosen = [name for name in chosen if name != "forward"]
        attached = self.bases.attached(kind)
        own = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
        for part in node.body:
            if getattr(part, "name", None) in attached:
                continue  # another one took its place
            is_method = isinstance(part, ast.FunctionDef)
            if is_method and part.name == "forward" and chosen:
                continue
            if is_method and part.name == "__init__" and self._makes(kind):
                continue
            first = getattr(part.value, "id", None) if isinstance(part, ast.Assign) else None
            if first in gone:
                continue  # a second name for what is left out
            before = len(rw.obstacles)
            text = self._member(rw, place, kind, part)
            gone |= {getattr(part, "name", "")} if text is None else set()
            if text is not None:
                text = shifted(text, node.col_offset + 4 - part.col_offset)
                (methods if is_method or first in own else fields).append(text)
                if is_method and rw.obstacles[before:] and not _runs(rw, part):
                    stopped.append((part, text, rw.obstacles[before:]))
        for part, text, obstacles in stopped:
            _left_out(rw, part, text, obstacles, methods)
        methods += bound.methods(rw, node)
        fields += [f"{word} = nn.Scratch()" for word in rw.held.scratch_of(node)]
        for word, value in attached.items():
            named = need(value, value.__name__, {}, value.__module__, rw.needs, node)
            fields.append(f"{word} = {named}")
        if self._makes(kind) and (made := self._constructor(kind)):
            methods.insert(0, shifted(made, node.col_offset))
        if chosen:
            made = f"        return self.{chosen[0]}(*args, **kwargs)"
            made = f"def forward(self, *args, **kwargs):\n{made}"
            methods.append(shifted(made, node.col_offset))
        if self._listed(kind):
            made = "def __hash__(self):\n        return hash(repr(self))"
            methods.append(shifted(made, node.col_offset))
        decorators = "".join(f"@{text}\n" for text in self._decorators(rw, node, kind))
        bases = f"({', '.join(head)})" if head else ""
        indent = " " * (node.col_offset + 4)
        parts = ([f"\n{indent}".join(fields)] if fields else []) + methods
        body = f"\n\n{indent}".join(parts) or "pass"
        return f"{decorators}{MARK}{node.lineno}{MARK}class {name}{bases}:\n{indent}{body}"

    def _decorators(self, rw: Rewriter, node: ast.ClassDef, kind: type) -> list[str]:
        """A class's decorators. Dataclasses: outputs are trees here, and what parts hold a hash."""
        found = [rw.text(decorator) for decorator in kept(rw, node)]
        if not dataclasses.is_dataclass(kind):
            return found
        if self._held(kind) and not self._listed(kind) and kind.__hash__ is None:
            stores = [n for n in ast.walk(node) if isinstance(getattr(n, "ctx", None), ast.Store)]
            changes = any(isinstance(n, ast.Attribute) for n in stores) or len(kind.__mro__) > 2
            given = "unsafe_hash=True" if changes else "frozen=True"
            found = [_with(text, given) if "dataclass" in text else text for text in found]
        return ["jax.tree_util.register_dataclass"] * (kind in self.writer.record.outputs) + found

    def _held(self, kind: type) -> list[Any]:
        """The instances of a class that parts of the model hold."""
        return [
            v for part in self.writer.root.modules() for v in vars(part).values() if type(v) is kind
        ]

    def _listed(self, kind: type) -> bool:
        """Whether a dataclass that parts hold has lists or dicts, which have no hash, in it."""
        values = [
            each for held in self._held(kind) for each in getattr(held, "__dict__", {}).values()
        ]
        unhashed = any(isinstance(each, list | dict | set) for each in values)
        return unhashed and dataclasses.is_dataclass(kind) and kind.__hash__ is None

    def _makes(self, kind: type) -> bool:
        """Whether the constructor of a class is written from the live tree."""
        listed = issubclass(kind, module_type()) or kind in self.tree.attributes
        return self.writer.generated and listed

    def _member(self, rw: Rewriter, place: Place, kind: type, part: ast.stmt) -> str | None:
        """One statement of a class's body; None where it is left out."""
        if not isinstance(part, ast.FunctionDef):
            if self.bases.unread(kind, part):
                return None
            try:
                text = _as_it_is(kind, part) or rw.text(part)
            except Obstacle:
                return None
            return None if text == DROP else text
        if part.name == "backward" and is_function(kind) and _differentiates(rw, part):
            said = "left out, for it computes forward again, which is differentiated here as it is"
            less = "for less memory make_step(remat=True)"
            rw.notes.append(f"{rw.where(part)}: {kind.__name__}.backward is {said}; {less}")
            return None
        line = rw.source.first_line(part)
        ran = (place.file, line) in self.writer.record.functions
        if not ran and issubclass(kind, module_type()) and _torchs_own(part.name):
            if part.name == "train" and (made := _computes(place.node, part)):
                said = f"train computes self.{made} of weights, and forward reads what it was then"
                self.writer.stopped(place, Obstacle(part, f"{said}; compute it in forward"))
            elif part.name == "train" and _does_more(part.body):
                said = "train is left out: what it does beside is not done here; nn.eval_mode(part)"
                rw.notes.append(f"{rw.where(part)}: {said} keeps a part in evaluation")
            return None  # `train` or `_apply`, which nothing calls here
        if self.bases.unneeded(kind, part.name, ran):
            return None
        if part.name == "forward" and not ran and kind in self.tree.forwards:
            instead = self.bases.replaced(kind, part)
            if instead is not None:
                return self._by(rw, part, instead)
        if ran:
            try:
                return rw.text(part) + self._tied(kind, part)
            except Obstacle as obstacle:
                self.writer.stopped(place, obstacle)
                return None
        return self._tried(rw, place, part)

    def _tied(self, kind: type, part: ast.FunctionDef) -> str:
        """What a constructor ends with, where parts stand under several names."""
        lines = self.writer.ties.get(kind, []) if part.name == "__init__" else []
        pad = " " * part.body[0].col_offset
        return "".join(f"\n{pad}{line}" for line in lines)

    def _tried(self, rw: Rewriter, place: Place, part: ast.FunctionDef) -> str | None:
        """A method that did not run: kept if it can be written and needs nothing further."""

        def write() -> str:
            text = rw.text(part)
            if any(re.search(rf"\.{name}\b", text) for name in rw.held.unread):
                raise Obstacle(part, "it reads what is left out")
            return text

        if (text := tried(rw, write)) is not None:
            return text
        if not part.name.startswith("_"):
            where = f"{place.module.rpartition('.')[2]}.py:{part.lineno}"
            rw.notes.append(f"{where}: {part.name} did not run, and was left out")
        return None

    def _by(self, rw: Rewriter, part: ast.FunctionDef, function: Any) -> str:
        """A forward that is the function which a decorator ran in its place."""
        name = need(function, function.__name__, {}, function.__module__, rw.needs, part)
        pad = " " * (part.col_offset + 4)
        rw.notes.append(f"{rw.where(part)}: {name} ran in place of this forward, and is it here")
        return f"def forward(self, *args, **kwargs):\n{pad}return {name}(self, *args, **kwargs)"

    def _constructor(self, kind: type) -> str | None:
        """A constructor that takes what the live parts have."""
        if kind not in self.tree.attributes:
            return None
        names = [name for name in self.tree.attributes[kind] if nameable(name)]
        odd = len(names) < len(self.tree.attributes[kind])  # "0" of add_module("0", ...)
        some = {n for n in names if self.tree.held[kind, n] < self.tree.parts[kind]}
        given = [f"{name}=None" if name in some else name for name in names]
        base = torch_base(kind) if issubclass(kind, module_type()) else "nn.Module"
        me = "self" if "self" not in names else "this"  # a part of that name is BERT's
        ties = self.tree.ties if kind is type(self.writer.root) else []
        tied = [f'nn.tie({me}, "{alias}", "{source}")' for alias, source in ties]
        lacking = some - {n for k, n in self.tree.empty if k is kind}  # hasattr may ask for them
        body = [f"if {name} is not None:\n            {me}.{name} = {name}" if name in lacking
                else f"{me}.{name} = {name}" for name in names] + tied  # fmt: skip
        if odd:
            rest = "parts" + "_" * ("parts" in names)
            body.append(f"for name, part in {rest}.items():\n            setattr({me}, name, part)")
            given.append(f"**{rest}")
        if not body:
            return None
        if base == "nn.Module":
            given = ["*", *given] if names else given
            head = Made("def __init__(", [("", n) for n in (me, *given)], "):")
        elif base in CONTAINERS:
            head = Made(
                "def __init__(", [("", me), ("", "*parts"), *(("", n) for n in given)], "):"
            )
            body.insert(0, f"{base}.__init__({me}, *parts)")
        else:
            head = Made("def __init__(", [("", n) for n in (me, "*args", *given, "**kwargs")], "):")
            body.insert(0, f"{base}.__init__({me}, *args, **kwargs)")
        return lines(head, 4) + "".join(f"\n        {line}" for line in body)


def _with(decorator: str, given: str) -> str:
    """A decorator with one more argument."""
    name, _, rest = decorator.partition("(")
    return f"{name}({given}{', ' if rest.strip(' )') else ''}{rest or ')'}"


def shifted(text: str, by: int) -> str:
    """The lines after the first, further to the right."""
    if by < 0:
        return text.replace("\n" + " " * -by, "\n")
    return re.sub(r"\n(?=[^\n])", "\n" + " " * by, text) if by else text


def _does_more(body: list[ast.stmt]) -> bool:
    """Whether a `train` does more than torch's own and to empty a cache."""

    def idle(node: ast.stmt) -> bool:
        if isinstance(node, ast.If):
            return not _does_more(node.body + node.orelse)
        if isinstance(node, ast.Assign):  # self.cache = {}
            return ast.unparse(node.value) in ("{}", "dict()", "None")
        text = ast.unparse(node)
        plain = text in ("return self", "pass") or ".train(" in text or text.endswith(".clear()")
        return plain or docstring(node)

    return not all(map(idle, body))


def _computes(owner: Any, train: ast.FunctionDef) -> str:
    """What a `train` makes of what a part holds, which another method reads; or ""."""
    made = {
        target.attr
        for node in ast.walk(train) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Attribute)
        if "self." in ast.unparse(node.value)
    }  # fmt: skip
    read = {
        node.attr
        for part in owner.body if part is not train
        for node in ast.walk(part)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }  # fmt: skip
    return min(made & read, default="")


def _differentiates(rw: Rewriter, function: ast.FunctionDef) -> bool:
    """Whether a `backward` has torch differentiate, as gradient checkpointing does."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    asked = ("torch.autograd.grad", "torch.autograd.backward", "Tensor.backward")
    return any(rw.torch_key(call)[0] in asked for call in calls)


def _torchs_own(name: str) -> bool:
    """Whether a method is one of torch.nn.Module's that fx.nn.Module does not have."""
    from fx import nn

    if name.startswith("_") or not hasattr(nn.Module, name):
        return hasattr(module_type(), name) and not name.startswith("__")
    return False


def _runs(rw: Rewriter, part: ast.FunctionDef) -> bool:
    """Whether a method is a constructor, or a line of it ran in a forward."""
    lines = {(rw.place.file, line) for line in range(part.lineno, (part.end_lineno or 0) + 1)}
    return part.name == "__init__" or not lines.isdisjoint(rw.held.lines)


def _left_out(
    rw: Rewriter, part: ast.FunctionDef, text: str, obstacles: list[Obstacle], methods: list[str]
) -> None:
    """Leave out a method that cannot be written where no other calls it: of first values, say."""
    rest = [each for each in methods if each is not text]
    if any(re.search(rf"\.{part.name}\b", each) for each in rest):
        return
    methods[:] = rest
    rw.obstacles = [each for each in rw.obstacles if each not in obstacles]
    said = f"{part.name}, which no forward calls, was left out: {obstacles[0].message}"
    rw.notes.append(f"{rw.where(part)}: {said}")


def _as_it_is(kind: type, part: ast.stmt) -> str | None:
    """`width = 9` where a class says `width = 2`, and somebody has set `Net.width = 9` since."""
    if not (isinstance(part, ast.Assign) and len(part.targets) == 1):
        return None
    name = getattr(part.targets[0], "id", None)
    try:
        said = ast.literal_eval(part.value)
    except ValueError:
        return None
    value = vars(kind).get(str(name), said)
    return f"{name} = {literal(value)}" if value != said and literal(value) else None
