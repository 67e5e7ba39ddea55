"""The text of a definition with torch's calls replaced, by position: comments and layout stay."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

from fx.porting.calls import (
    above,
    constant,
    creation,
    decided,
    functions,
    keys,
    listed,
    moved,
    observed,
    special,
    statistics,
    unseen,
)
from fx.porting.calls.calls import DROP, MARK, Call, plain, ported
from fx.porting.effects import cached, declared, inplace, lost, shared
from fx.porting.effects.held import Held
from fx.porting.model import bound
from fx.porting.pairs import rules
from fx.porting.read import walks  # fmt: skip
from fx.porting.read.names import (
    Needs,
    Obstacle,
    applied,
    imported,
    need,
    resolve,
    torch_name,
    translated,
    twin,
)
from fx.porting.read.record import Fact, Record, unscripted
from fx.porting.read.scopes import Scope
from fx.porting.read.sources import Place, source

READ = {
    "device": "None", "data": "", "requires_grad": "False", "mH": ".mT.conj()",
    "is_cuda": "False", "is_xpu": "False", "is_mps": "False", "is_meta": "False", "is_cpu": "True",
}  # fmt: skip
Statement = Callable[["Rewriter", ast.stmt], str | None]


class Rewriter:
    """Writes one definition anew.

    Attributes:
        needs: What the text refers to.
        notes: Lines on what was left out or changed in a way that should be known.
    """

    def __init__(
        self, place: Place, names: dict[str, Any], record: Record, known: set[int] | None,
        statement: Statement, needs: Needs, draws: dict[int, bool], returns: dict, held: Held,
    ):  # fmt: skip
        self.place, self.names, self.record, self.known = place, names, record, known
        self.source = source(place.file)
        self.needs, self.notes = needs.trial(), []
        self.statement, self.draws, self.returns = statement, draws, returns
        self.held = held
        self.scopes: list[set[str]] = []
        self.functions: list[Any] = []
        self.trying = False  # what did not run is written as if it had, or given up
        self.obstacles: list[Obstacle] = []
        self.drawn: dict[Any, int] = {}  # how many keys a function has drawn
        self.constant = False  # what is written has no gradient
        self.before: list[str] = []  # statements before the one at hand
        self.counted: dict[Any, str] = {}  # loops that write into rows, and the row's number
        self.imports: dict[str, Any] = {}  # what functions import
        self.given: set[str] = set()  # names that are of no scope of the original

    def text(self, node: Any) -> str:
        """The ported text of a node."""
        if isinstance(node, ast.stmt):
            before, self.before = self.before, []
            try:
                written = self.statement(self, node)
                text = self.copy(node) if written is None else written
                text = shared.between(self, node).join([*self.before, text])
            except Obstacle as obstacle:
                if self.trying or not self.functions:
                    raise
                if (seen := observed.value(self, node)) is not None:
                    return f"{MARK}{node.lineno}{MARK}{seen}"
                self.obstacles.append(obstacle)
                return "pass"  # nobody runs it; what can be read shows the other obstacles
            finally:
                self.before = before
            return text if text == DROP else f"{MARK}{node.lineno}{MARK}{text}"
        if isinstance(node, ast.expr):
            text = self._expression(node)
            if listed.is_added(self, node):
                return f"list({self.copy(node) if text is None else text})"
            if text is not None:
                text = f"({text})" if self._cramped(node) and not plain(text) else text
            if self.constant:
                return constant.stopped(self, node, self.copy(node) if text is None else text)
            if text is not None:
                return text
        return self.copy(node)

    def copy(self, node: Any) -> str:
        """A node's own text, around the ported text of its parts."""
        if isinstance(node, ast.JoinedStr):
            return self.source.segment(node)  # Python 3.11 does not say where its parts are
        start, end = self.source.span(node)
        written, at = [], start
        for child in sorted(_placed(node), key=self.source.span):
            first, last = self.source.span(child)
            if first < at or last > end:
                continue
            written += [self.source.text[at:first].decode(), self.text(child)]
            at = last
        return "".join([*written, self.source.text[at:end].decode()])

    def parent(self, node: Any) -> Any:
        """What a node stands in."""
        return self.source.parents.get(node)

    def where(self, node: ast.stmt) -> str:
        """The place of a statement, as notes have it."""
        return f"{self.place.module.rpartition('.')[2]}.py:{node.lineno}"

    def key(self, node: Any, trains: bool = False) -> str:
        """The text that draws a key for random numbers: a module's, or the function's own."""
        return keys.text(self, node, trains)

    def takes_key(self, function: Any) -> bool:
        """Whether a function that is written gets a `key` argument."""
        inside = isinstance(self.parent(function), ast.Module)
        return inside and id(unscripted(self.names.get(function.name))) in self.draws

    def uses(self, name: str, statement: str) -> None:
        """Note an import that the text needs."""
        self.needs.imports[name] = statement

    def ran(self, node: Any) -> bool:
        """Whether a statement ran, its function included."""
        return self.trying or (self.place.file, node.lineno) in self.record.lines

    def kinds(self, name: str) -> set[type]:
        """The types that a name of the function at hand was seen to stand for."""
        first = self.source.first_line(self.functions[-1]) if self.functions else 0
        return self.record.locals.get((self.place.file, first, name), set())

    def inside(self, function: Any) -> Scope:
        """A context in which a function's names are local."""
        return Scope(self, function)

    def seen(self, node: Any) -> dict[str, list]:
        """What ran at a place, by its name in torch."""
        return self.record.at(self.place.file, node.end_lineno or 0, node.end_col_offset or 0)

    def torch_key(self, node: ast.Call) -> tuple[str | None, list[Fact]]:
        """The torch function that a call is of, and what was seen of it."""
        seen = self.seen(node)
        known, value = self.resolve(node.func)
        if known:
            name = None if twin(value) else torch_name(value)
            if name is None:
                return None, []
            last = name.rpartition(".")[2]
            return name, next((f for n, f in seen.items() if n.rpartition(".")[2] == last), [])
        if isinstance(node.func, ast.Attribute):
            word = node.func.attr
            for name, facts in seen.items():
                said = {"ndimension": "dim", "nelement": "numel"}.get(word, word)  # as torch says
                if name.rpartition(".")[2] == said and name.startswith("torch.Tensor."):
                    return f"Tensor.{word}", facts
            ran = self.in_a_line_that_ran(node) and not unseen.in_an_arm(self, node)
            if not seen and unseen.of_a_tensor(self, node, ran):
                return f"Tensor.{word}", []
        return None, []

    def given_back(self, node: ast.Call) -> ast.expr | None:
        """What a function that is called has changed and gives back: its argument."""
        return lost.given_back(self, node)

    def resolve(self, node: ast.expr) -> tuple[bool, Any]:
        """What a dotted name stands for, where it is global."""
        local = set().union(*self.scopes) if self.scopes else set()
        names = {**self.names, **self.imports} if self.imports else self.names
        return resolve(node, names, local)

    def _expression(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.BoolOp) and isinstance(said := decided.decided(self, node), bool):
            return str(said)
        if isinstance(node, ast.IfExp) and (said := decided.decided(self, node.test)) in (
            True,
            False,
        ):
            return self.text(node.body if said else node.orelse)
        if isinstance(node, ast.Lambda) and isinstance(node.body, ast.Call):
            if (self.torch_key(node.body)[0] or "").startswith("nn.init."):
                return "None"  # first values, which are left out
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            known, value = self.resolve(node)
            if known:
                return self._global(node, value)
        if isinstance(node, ast.Attribute) and (name := self.held.name(node, self.functions)):
            return name
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            return self._attribute(node) or declared.read(self, node)
        if isinstance(node, ast.Subscript):
            if (said := cached.stored(self, node) or listed.keyed(self, node)) is not None:
                return said
        if isinstance(node, ast.Subscript) and _picks(node) and isinstance(node.value, ast.Call):
            key, facts = self.torch_key(node.value)
            if key and key.rpartition(".")[2] in special.PICKED and _has_dim(node.value):
                return self.text(node.value)
        return None

    def _attribute(self, node: ast.Attribute) -> str | None:
        seen = self.seen(node)
        if (named := walks.parts(self, node)) is not None:
            return named
        if f"torch.Tensor.{node.attr}.__get__" in seen and node.attr in READ:
            if node.attr == "data":
                return constant.data(self, node, self.text(node.value))
            into = READ[node.attr]
            return into if into.isalpha() else self.text(node.value) + into
        if (own := bound.written(self, node) or observed.own(self, node)) is not None:
            return own
        if node.attr == "type" and observed.is_device(self, node.value):
            return '"cpu"'  # where the model ran; what other devices need is XLA's affair
        named = isinstance(node.value, ast.Name | ast.Attribute)
        if node.attr == "device" and named and not self.in_a_line_that_ran(node):
            return "None"
        if node.attr in ("values", "indices") and self._is_pair(node.value):
            return f"{self.text(node.value)}[{int(node.attr == 'indices')}]"
        if node.attr in ("values", "indices") and isinstance(node.value, ast.Call):
            key, _ = self.torch_key(node.value)
            word = (key or "").rpartition(".")[2]
            if word in special.PICKED:
                return self.text(node.value)
            if word in ("topk", "sort", "median", "kthvalue"):
                return f"{self.text(node.value)}[{int(node.attr == 'indices')}]"
        return None

    def in_a_line_that_ran(self, node: Any) -> bool:
        """Whether a node's statement ran, whatever is tried now."""
        while node is not None and not isinstance(node, ast.stmt):
            node = self.parent(node)
        return node is not None and (self.place.file, node.lineno) in self.record.lines

    def _is_pair(self, node: ast.expr) -> bool:
        """Whether a name stands for the pair that torch's max, sort, topk and others give."""
        kinds = self.kinds(node.id) if isinstance(node, ast.Name) else set()
        return bool(kinds) and {kind.__module__ for kind in kinds} == {"torch.return_types"}

    def _global(self, node: Any, value: Any) -> str | None:
        """A global name: torch's is translated, the user's is noted, the rest is imported."""
        if (function := applied(value, self.needs)) is not None:
            return function
        name = None if twin(value) else torch_name(value)
        if name is not None:
            into = translated(name) or (rules.function(name) or (None,))[0]
            if name.startswith("nn.init.") and getattr(self.parent(node), "func", None) is not node:
                into = translated(name.removesuffix("_"))  # what fills weights, given to a function
            if into is None:
                raise Obstacle(node, f"{name} has no counterpart here")
            return into
        if isinstance(node, ast.Attribute):
            root = node
            while isinstance(root, ast.Attribute):
                root = root.value
            _, owner = self.resolve(root)
            standard = imported(getattr(owner, "__name__", "") or "")
            if standard or (not hasattr(owner, "__path__") and not _local_module(owner)):
                return None  # an attribute of a class or of a module that is imported: copied
            word = node.attr
            module = getattr(value, "__module__", None) or owner.__name__
        else:
            word, module = node.id, self.place.module
        return need(value, word, self.names, module, self.needs, node)

    def _call(self, node: ast.Call) -> str | None:
        if (called := above.written(self, node)) is not None:
            return called
        key, facts = self.torch_key(node)
        if key is None and (called := functions.written(self, node)) is not None:
            return called
        if key is None:
            if (module := moved.module_of(self, node)) is not None:
                return self.text(module)
            keys.refuse_others(self, node)
            if (both := lost.given_to_writer(self, node)) is not None:
                return both
            if self.trying and unseen.of_a_tensor(self, node, False) is None:
                raise Obstacle(node, "did not run, so that what it is a method of is not known")
            said = observed.answer(self, node)
            known = observed.kinds(self, node) if said is None else str(said)
            return known or walks.written(self, node) or keys.passed(self, node)
        if facts or self.trying or not unseen.in_an_arm(self, node):
            return inplace.kept(self, node, key, self._known(node, key, facts))
        try:
            return inplace.kept(self, node, key, self._known(node, key, facts))
        except Obstacle as obstacle:
            if not key.startswith("Tensor."):
                raise
            where = f"{self.place.module.rpartition('.')[2]}.py:{node.lineno}"
            self.notes.append(f"{where} did not run, and stays as it was: {obstacle.message}")
            return None

    def _known(self, node: ast.Call, key: str, facts: list) -> str | None:
        """The call of a function or method of torch's."""
        args = list(node.args)
        if key.startswith("Tensor."):
            assert isinstance(node.func, ast.Attribute)
            args = [node.func.value, *args]
        kwargs = {keyword.arg or "": keyword.value for keyword in node.keywords}
        if "out" in kwargs and ast.unparse(kwargs["out"]) == "None":
            del kwargs["out"]
        if "" in kwargs and not key.startswith(("nn.", "F.")):
            return creation.spread(self, node, key, facts)
        call = Call(key, node, args, kwargs, facts, self)
        head, _, word = key.rpartition(".")
        if key in ("nn.Parameter", "nn.parameter.Parameter"):
            return declared.parameter(call)
        if head == "F" and word.removesuffix("_") in special.RANDOM:
            return special.dropout(call)
        if (f"{head}.".startswith("nn.") or "nn.utils." in key) and translated(key):
            return None  # the name is translated, the arguments are the same
        if head == "F" and translated(f"F.{word.removesuffix('_')}"):
            return self._functional(call, word.removesuffix("_"))
        if word in special.SPECIAL and head in special.HEADS:
            if not args and "input" in kwargs and word != "searchsorted":
                args.append(kwargs.pop("input"))
            numpys = {"axis": "dim", "keepdims": "keepdim"}  # torch takes both
            starred = any(isinstance(arg, ast.Starred) for arg in args)
            if starred and word not in special.VARIADIC:
                raise call.obstacle("arguments with * are not known apart; write them out")
            call.kwargs = {numpys.get(name, name): value for name, value in kwargs.items()}
            try:
                return special.SPECIAL[word](call)
            except (IndexError, ZeroDivisionError):
                raise call.obstacle("a tensor of no axes has none to name in JAX") from None
        return ported(call)

    def _functional(self, call: Call, word: str) -> str:
        given = [self.text(arg) for arg in call.args]
        given += [
            f"{name}={self.text(value)}" if name else f"**{self.text(value)}"
            for name, value in call.kwargs.items()
            if name not in ("_stacklevel", "inplace")
        ]
        text = f"F.{word}({', '.join(given)})"
        return statistics.written(call, text) if word in statistics.NORMS else text

    def _cramped(self, node: ast.expr) -> bool:
        """Whether a node stands where an operator or a dot would take only a part of its text."""
        parent = self.parent(node)
        if isinstance(parent, ast.Attribute | ast.Subscript):
            return parent.value is node
        if isinstance(parent, ast.Call):
            return parent.func is node
        return isinstance(parent, ast.BinOp | ast.UnaryOp | ast.Compare | ast.BoolOp | ast.Starred)


def _placed(node: Any) -> Iterator[Any]:
    """The nearest parts of a node that have a place in the text."""
    for child in ast.iter_child_nodes(node):
        if hasattr(child, "lineno"):
            yield child
        else:
            yield from _placed(child)


def _picks(node: ast.Subscript) -> bool:
    return isinstance(node.slice, ast.Constant) and node.slice.value in (0, 1)


def _has_dim(node: ast.Call) -> bool:
    return bool(node.keywords) or len(node.args) > 0


def _local_module(owner: Any) -> bool:
    from fx.porting.read.record import is_users

    file = getattr(owner, "__file__", None)
    return bool(file) and is_users(file)
