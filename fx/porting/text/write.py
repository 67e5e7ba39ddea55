"""The ported file: the definitions that a model needs, in order, and how it is made."""

import ast
import contextlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fx.interop.torch_arrays import is_tensor
from fx.porting import pairs
from fx.porting.calls.calls import DROP, MARK
from fx.porting.effects.held import Held, found
from fx.porting.model import doubled, numbers
from fx.porting.model.layout import lines
from fx.porting.model.numbers import as_tensor, is_numbers, literal
from fx.porting.model.registered import registered
from fx.porting.model.tree import Tree, module_type
from fx.porting.read.closures import Inner
from fx.porting.read.names import Needs, Obstacle, renamed, twin
from fx.porting.read.record import Record, is_installed
from fx.porting.read.sources import Place, constant, definition, source
from fx.porting.text.classes import Classes
from fx.porting.text.rewrite import Rewriter
from fx.porting.text.statements import statement

_FX = {
    "jax": "import jax", "jnp": "import jax.numpy as jnp",
    "F": "from fx import functional as F", "nn": "from fx import nn",
}  # fmt: skip


_TWINS = ("twins.py", "distributions.py")


@dataclass
class Written:
    """A ported file.

    Attributes:
        source: Its text.
        origins: For each line, the file and line of the original, or None.
        obstacles: What stands in the way, "file:line: what".
        notes: What was left out or changed.
    """

    source: str
    origins: list[tuple[str, int] | None]
    obstacles: list[str]
    notes: list[str]
    saved: dict[str, Any]


@dataclass
class Chunk:
    """One definition in the ported file."""

    text: str
    origins: list[tuple[str, int] | None]


@dataclass
class Writer:
    """Writes definitions until nothing more is needed."""

    record: Record
    generated: bool  # constructors are written from the live tree
    known: set[int] | None
    held: Held
    needs: Needs = field(default_factory=Needs)
    chunks: dict[int, Chunk] = field(default_factory=dict)
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tree: Tree | None = None
    root: Any = None
    draws: dict[int, bool] = field(default_factory=dict)  # that take a key; in evaluation, too
    returns: dict = field(default_factory=dict)  # functions that return an argument here
    ties: dict[type, list[str]] = field(default_factory=dict)  # what constructors end with

    def define(self, key: int, name: str, value: Any, module: str) -> None:
        """Write one definition, what it needs before it."""
        if key in self.chunks:
            return
        self.chunks[key] = Chunk("", [])  # cycles end here
        if word := twin(value):
            self.chunks[key] = self._twin(name, word)
            return
        place = definition(value) if isinstance(value, type) or callable(value) else None
        given = self.needs.given[key]
        if "<locals>" in getattr(value, "__qualname__", ""):  # what a function of the file made
            place = constant(module, given) or place
        place = value.place if isinstance(value, Inner) else place or constant(module, given)
        if place is None:
            self.obstacles.append(f"{module}: the source of {name!r} was not found")
            return
        names = vars(sys.modules[place.module])
        rewriter = Rewriter(
            place, names, self.record, self.known, statement, self.needs, self.draws,
            self.returns, self.held,
        )  # fmt: skip
        try:
            said = registered(rewriter, place, value, self.root) or self._told(place, given, value)
            if said:
                text = f"{name} = {said}"
            elif isinstance(place.node, ast.ClassDef) and isinstance(value, type):
                assert self.tree is not None
                text = Classes(self, self.tree).text(rewriter, place, value, self.needs.names[key])
            elif isinstance(value, Inner):
                text = value.text(rewriter, name)
            else:
                text = renamed(rewriter.text(place.node), given, name)
        except Obstacle as obstacle:
            if isinstance(place.node, ast.Assign) and (said := literal(value)):
                text = f"{name} = {said}"  # whatever torch has to do with it
            else:
                self.stopped(place, obstacle)
                text = DROP
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            said = f"{type(error).__name__} while {name} was written ({error}), a fault of fx.port"
            self.stopped(place, Obstacle(place.node, said))
            text = DROP
        for obstacle in rewriter.obstacles:
            self.stopped(place, obstacle)
        chunk = self._parsed(finished(text, place), place)
        self.needs.add(rewriter.needs)
        self.notes += [note for note in rewriter.notes if note not in self.notes]
        for other, (word, needed, owner) in list(rewriter.needs.definitions.items()):
            self.define(other, word, needed, owner)
        del self.chunks[key]
        self.chunks[key] = chunk  # after what it needs

    def _told(self, place: Place, name: str, value: Any) -> str | None:
        """The value of a constant where its text does not say it, or not alone; else None.

        An installed package asks which version there is, say; one of several assignments ran; or
        a function has changed it, before the model was made.
        """
        if not isinstance(place.node, ast.Assign | ast.AnnAssign):
            return None
        file = source(place.file)
        setters = [(place.file, line) for line in file.setters(name)]
        several = name in file.several or setters and self.record.functions.isdisjoint(setters)
        with contextlib.suppress(ValueError):  # somebody may have set it from outside
            several = several or ast.literal_eval(place.node.value) != value  # type: ignore[arg-type]
        asks = isinstance(place.node.value, ast.Call) and is_installed(place.file)
        asks = asks and (value is None or isinstance(value, bool | int | float | str))
        if several and (is_numbers(value) or is_tensor(value)):
            self.needs.imports["jnp"] = "import jax.numpy as jnp"
            return numbers.text(as_tensor(value) if is_numbers(value) else value)
        return literal(value) if asks or several else None

    def _twin(self, name: str, word: str) -> Chunk:
        """A class or a function of another library as fx has it."""
        files = (source(str(Path(pairs.__file__).with_name(name))) for name in _TWINS)
        file = next(file for file in files if word in file.names)
        text = re.sub(rf"^(\w+) {word}\b", rf"\1 {name}", file.segment(file.find(word)), count=1)
        imports = {
            "einops": "import einops",
            "math": "import math",
            "Any": "from typing import Any",
        }
        self.needs.imports |= imports
        return Chunk(text, [None] * (text.count("\n") + 1))

    def _parsed(self, chunk: Chunk, place: Place) -> Chunk:
        """A definition, or an empty one and an obstacle where its text is no Python."""
        try:
            ast.parse(chunk.text)
        except SyntaxError as error:
            line = (chunk.origins[(error.lineno or 1) - 1 :] or [None])[0]
            node = ast.Pass(lineno=line[1] if line else place.node.lineno)
            said = f"fx.port wrote what is no Python here ({error.msg}): a fault of its own"
            self.stopped(place, Obstacle(node, said))
            return Chunk("", [])
        return chunk

    def stopped(self, place: Place, obstacle: Obstacle) -> None:
        """Note what stands in the way."""
        line = f"{place.file}:{obstacle.line}: {obstacle.message}"
        if line not in self.obstacles:
            self.obstacles.append(line)


def write(
    module: Any, record: Record, built: Record | None = None, passing: Any = lambda *_: {}
) -> Written:
    """The ported source of a live model.

    Args:
        module: The PyTorch model.
        record: What it did.
        built: What its constructors did, to port them; without it they are written from the tree.
        passing: Says which attributes live for one call; see `held.found`.
    """
    keep, held = built is not None, found(record, module, passing)
    record = built.joined(record) if built is not None else record
    known: set[int] | None = None
    used: set[str] = set()
    draws: dict[int, bool] = {}
    returns: dict = {}
    tied = doubled.ties(module) if keep else {}
    for _ in range(5):
        writer = Writer(
            record, not keep, known, held, draws=dict(draws), returns=dict(returns), ties=tied
        )
        made, tree = _made(module, writer, used, keep)
        reads = _reads(chunk.text for chunk in writer.chunks.values())
        reads |= _matching(module, reads)
        done = known == set(writer.chunks) and reads <= used
        done = done and (writer.draws, writer.returns) == (draws, returns)
        known, used = set(writer.chunks), used | reads
        draws, returns = writer.draws, writer.returns
        if done:
            break
    return _assembled(writer, made, tree, module)


def _made(module: Any, writer: Writer, used: set[str], keep: bool) -> tuple[str, Tree]:
    seen = writer.record.constructed if keep else None
    tree = writer.tree = Tree(used, seen, writer.needs, tables=writer.record.tables)
    tree.names = writer.record.names
    tree.scratch, tree.reserved = writer.held.scratch, writer.held.reserved
    tree.bound = writer.held.bound
    tree.registered = set(map(id, module.modules()))
    writer.root = module
    try:
        made = lines(tree.make(module), 4, len("return "))
    except Obstacle as obstacle:
        writer.obstacles.append(obstacle.message)
        made = "None"
    if keep:
        for kind in {type(part): None for part in module.modules()}:
            if kind.__module__.split(".")[0] != "torch" and not twin(kind):
                writer.needs.define(id(kind), kind.__name__, kind, kind.__module__)
    for key, (name, value, owner) in list(writer.needs.definitions.items()):
        writer.define(key, name, value, owner)
    return made, tree


def _reads(texts: Iterable[str]) -> set[str]:
    """The attributes that code reads, by name."""
    found: set[str] = set()
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)  # getattr(self, "name")
            elif isinstance(node, ast.JoinedStr):  # getattr(self, f"{kind}_scale")
                parts = [n.value if isinstance(n, ast.Constant) else "*" for n in node.values]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant):
                found |= {f"{node.left.value}*"} if isinstance(node.left.value, str) else set()
            elif isinstance(node, ast.ClassDef):
                private = (n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute))
                found |= {f"_{node.name.lstrip('_')}{n}" for n in private if n.startswith("__")}
    return found


def _matching(module: Any, reads: set[str]) -> set[str]:
    """The attributes of parts whose names are put together where they are read."""
    patterns = [each for each in reads if "*" in each and each.replace("*", "").isidentifier()]
    parts = list(module.modules()) if patterns else []
    names = {name for part in parts for name in vars(part)}
    names |= {
        name for kind in set(map(type, parts)) for base in kind.__mro__ for name in vars(base)
    }
    return {name for name in names if any(fnmatchcase(name, each) for each in patterns)}


def _called(writer: Writer, tree: Tree) -> None:
    """Note an obstacle where code makes objects of a class whose constructor is written anew."""
    for kind in tree.attributes:
        name = writer.needs.names.get(id(kind))
        if name is None or issubclass(kind, module_type()):
            continue
        made = re.compile(rf"(?<![\w.]){name}\(")
        texts = (chunk.text for key, chunk in writer.chunks.items() if key != id(kind))
        if any(made.search(text) for text in texts):
            said = "is made where the model runs, too; give fx.port a function that makes the model"
            writer.obstacles.append(f"{name} {said}")


def _assembled(writer: Writer, made: str, tree: Tree, module: Any) -> Written:
    _called(writer, tree)
    chunks = _in_order([chunk for chunk in writer.chunks.values() if chunk.text.strip()])
    shared = "".join(f"    {name} = {text}\n" for name, text in tree.objects.values())
    build = f'def build():\n    """The model, as it was ported."""\n{shared}    return {made}'
    body = "\n\n\n".join([*(chunk.text for chunk in chunks), build])
    names = {n.id for n in ast.walk(ast.parse(body)) if isinstance(n, ast.Name)}
    imports = {n: s for n, s in {**_FX, **writer.needs.imports}.items() if n in names}
    head = f'"""{type(module).__name__}, ported from PyTorch by fx.port."""\n\n'
    head += _sorted_imports(set(imports.values()))
    origins: list[tuple[str, int] | None] = [None] * (head.count("\n") + 2)
    for chunk in chunks:
        origins += [*chunk.origins, None, None]
    return Written(
        f"{head}\n\n{body}\n", origins, writer.obstacles, [*writer.notes, *tree.notes], tree.saved
    )


def _in_order(chunks: list[Chunk]) -> list[Chunk]:
    """Definitions after what they need when they are made: a class after its bases.

    What methods alone need may come later: `isinstance(self, Child)` in a class of which it is one.
    """
    trees = [(chunk, ast.parse(chunk.text).body) for chunk in chunks]
    named = {getattr(body[0], "name", ""): chunk for chunk, body in trees if body}
    ordered: dict[int, Chunk] = {}
    begun: set[int] = set()

    def put(chunk: Chunk, body: list[ast.stmt]) -> None:
        if id(chunk) in begun:
            return
        begun.add(id(chunk))
        for name in [name for node in body for name in _at_once(node)]:
            if name in named:
                put(named[name], bodies[id(named[name])])
        ordered[id(chunk)] = chunk

    bodies = {id(chunk): body for chunk, body in trees}
    for chunk, body in trees:
        put(chunk, body)
    return list(ordered.values())


def _at_once(node: ast.AST) -> list[str]:
    """The names that a definition reads when it is made, and not when it is called."""
    if isinstance(node, ast.Name):
        return [node.id]
    parts: list[Any] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        parts = [node.args, *getattr(node, "decorator_list", ()), getattr(node, "returns", None)]
    return [name for part in parts if part is not None for name in _at_once(part)]


def _sorted_imports(statements: set[str]) -> str:
    """Import statements in ruff's order: the standard library, others, fx."""
    groups: list[set[str]] = [set(), set(), set()]
    members: dict[str, set[str]] = {}
    for text in statements:
        start, _, names = text.partition(" import ")
        root = text.split()[1].split(".")[0]
        if names and root != "fx":
            members.setdefault(start, set()).add(names)
            text = f"{start} import {', '.join(sorted(members[start], key=_rank))}"
            groups[root not in sys.stdlib_module_names] -= {
                t for t in groups[root not in sys.stdlib_module_names] if t.startswith(f"{start} ")
            }
        groups[0 if root in sys.stdlib_module_names else 2 if root == "fx" else 1].add(text)
    ordered = (sorted(group, key=lambda t: (t.startswith("from"), t)) for group in groups)
    return "\n".join("\n".join(group) + "\n" for group in ordered if group)


def _rank(name: str) -> tuple[int, str]:
    """Constants, classes, functions, as isort has them."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


def finished(text: str, place: Place) -> Chunk:
    """A definition without the marks: dropped lines go, origins are read off."""
    indent = place.node.col_offset
    out, origins, line = [], [], None
    for raw in text.split("\n"):
        pieces = raw.split(MARK)
        if len(pieces) > 1:
            line = int(pieces[1])
        raw = "".join(pieces[::2])
        if DROP in raw and not raw.replace(DROP, "").replace(";", "").strip():
            continue
        raw = re.sub(f"{DROP} *; *|(; *)?{DROP}", "", raw)
        out.append(raw[indent:] if not raw[:indent].strip() else raw)
        origins.append(None if line is None else (place.file, line))
    return Chunk("\n".join(out).rstrip(), origins)
