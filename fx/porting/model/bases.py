"""What is left of the bases that installed packages give their models, of which little runs.

    class Net(PreTrainedModel, HubMixin):      class Net(nn.Module):

A base of which nothing ran and nothing is read goes. Of one that stays, and that no part of the
model is an object of, what ran stays.
"""

import abc
import ast
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

from fx.porting.model.tree import Tree, module_type
from fx.porting.read.live import of_any_size
from fx.porting.read.names import need, torch_name, twin
from fx.porting.read.record import Record, is_installed, is_packaged

_MADE = (
    "__new__",
    "__init_subclass__",
    "__getattr__",
    "__setattr__",
    "__getstate__",
    "__setstate__",
)


class Bases:
    """Says which bases and members of classes are needed."""

    def __init__(self, record: Record, tree: Tree, lines: set[tuple[str, int]]):
        self.record, self.tree, self.lines = record, tree, lines  # those that a forward ran

    def texts(self, rw: Any, node: ast.ClassDef, kind: type) -> list[str]:
        """The bases of a class, as they are written."""
        found: dict[str, Any] = {}
        for base, value in zip(node.bases, kind.__bases__):
            if value is abc.ABC and len(kind.__bases__) > 1:
                continue  # its metaclass is not fx's
            if norm := of_any_size(value):
                found[norm] = value
                continue
            if not self.idle(value):
                hidden = rw.resolve(base)[1] is kind  # a class on another one of its name
                found[_named(rw, value, node) if hidden else rw.text(base)] = value
                continue
            for each in self._instead(value):
                found[_named(rw, each, node)] = each
        modules = [text for text, value in found.items() if issubclass(value, module_type())]
        if len(modules) > 1:
            found.pop("nn.Module", None)
        return list(found)

    def _instead(self, kind: type) -> Iterator[type]:
        """The nearest bases of an idle class that are needed."""
        for base in kind.__bases__:
            if base not in (object, abc.ABC):
                yield from self._instead(base) if self.idle(base) else [base]

    def idle(self, kind: type) -> bool:
        """Whether nothing of a base of an installed package ran, or is read."""
        if not _installed(kind) or twin(kind) or kind in self.tree.forwards:
            return False
        if "__dataclass_fields__" in vars(kind):
            return False
        return not any(self._needed(kind, name, part) for name, part in vars(kind).items())

    def _overrides(self, kind: type, name: str) -> bool:
        """Whether a method that is read would, left out, be that of another base."""
        others = [base for base in kind.__mro__[1:] if torch_name(base) is None]
        read = name in self.tree.used and not name.startswith("__")
        return read and any(name in vars(base) for base in others if base is not object)

    def _needed(self, kind: type, name: str, part: Any) -> bool:
        part = getattr(part, "__func__", getattr(part, "fget", None) or part)
        code = getattr(inspect.unwrap(part) if callable(part) else part, "__code__", None)
        if code is not None:
            ran = (code.co_filename, code.co_firstlineno) in self.record.functions
            if not issubclass(kind, module_type()):  # a mixin, which may keep what one is given
                lines = {(code.co_filename, line) for *_, line in code.co_lines()}
                ran = not lines.isdisjoint(self.lines)
            return ran or self._overrides(kind, name)
        return not name.startswith("__") and name in self.tree.used

    def bare(self, kind: type) -> bool:
        """Whether a class is an installed package's, and no part of the model is just that."""
        return _installed(kind) and kind not in self.tree.forwards

    def unneeded(self, kind: type, name: str, ran: bool) -> bool:
        """Whether a method of such a class is left out: what did not run, and how it is made."""
        if issubclass(kind, module_type()) and _installed(kind):
            if name in _MADE or name in ("dtype", "device"):
                return True  # the dtype is that of the weights, the device XLA's affair
        left = not ran and self.bare(kind) and not name.startswith("__")
        return left and not self._overrides(kind, name)

    def replaced(self, kind: type, node: Any) -> Any:
        """The function that a decorator ran in place of a forward; None where the forward ran."""
        own = getattr(vars(kind).get("forward"), "__code__", None)
        first = min(each.lineno for each in [node, *node.decorator_list])
        if own is not None and own.co_firstlineno == first:
            return None  # no decorator's: it did not run
        ran = [
            (file, line)
            for (file, line, name), kinds in self.record.locals.items()
            if name == "self" and kind in kinds and is_installed(file)
        ]
        found = [value for place in ran if (value := _top_level(*place)) is not None]
        found = [value for value in found if value not in self.attached(kind).values()]
        return found[0] if len(found) == 1 else None

    def attached(self, kind: type) -> dict[str, Any]:
        """The methods that a class got after it was made, by name."""
        found = {}
        for name, value in vars(kind).items():
            code = getattr(value, "__code__", None)
            place = (code.co_filename, code.co_firstlineno) if code else ()
            if isinstance(value, types.FunctionType) and not name.startswith("__"):
                wanted = place in self.record.functions or name in self.tree.used
                if wanted and "." not in value.__qualname__:
                    found[name] = value
        return found

    def unread(self, kind: type, part: ast.stmt) -> bool:
        """Whether a statement gives such a class what nothing reads."""
        targets = part.targets if isinstance(part, ast.Assign) else []
        targets = [part.target] if isinstance(part, ast.AnnAssign) else targets
        if not targets or hasattr(kind, "__dataclass_fields__"):
            return False
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if not _installed(kind):  # what such a base asks for: `config_class = Config`
            above = [base for base in kind.__mro__ if _installed(base)]
            hidden = names and all(any(name in vars(base) for base in above) for name in names)
            return bool(hidden) and not any(name in self.tree.used for name in names)
        hidden = self.bare(kind) or all(name.startswith("_") for name in names)
        return hidden and not any(name in self.tree.used for name in names)


def _installed(kind: type) -> bool:
    return is_packaged(kind) and torch_name(kind) is None


def _top_level(file: str, line: int) -> Any:
    """The function of a module that is defined at a line, if it is one."""
    modules = [m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == file]
    for value in (each for module in modules for each in vars(module).values()):
        code = getattr(value, "__code__", None)
        if code and (code.co_filename, code.co_firstlineno) == (file, line):
            return value
    return None


def _named(rw: Any, kind: type, node: Any) -> str:
    if kind is module_type():
        return "nn.Module"
    name = torch_name(kind)
    if name is not None or kind.__module__ == "builtins":
        return name or kind.__name__
    return need(kind, kind.__name__, {}, kind.__module__, rw.needs, node)
