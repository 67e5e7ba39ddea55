"""Classes and functions by name, in a dict that decorators fill: what ran of them.

MODELS = {}                                   MODELS = {"mlp": Mlp}

@register("mlp")                              class Mlp(nn.Module):
class Mlp(nn.Module):
"""

import ast
from typing import Any

from fx.porting.model.numbers import literal
from fx.porting.read.names import need
from fx.porting.read.record import file_of, is_users
from fx.porting.read.sources import Place


def registered(rw: Any, place: Place, value: Any, root: Any) -> str | None:
    """A dict that its file makes empty and that has classes or functions, by what is needed of it.

    Args:
        rw: the rewriter, which notes what the text refers to.
        place: where the dict is made.
        value: the dict.
        root: the model.

    Returns:
        Its text; None of anything else.
    """
    made = getattr(place.node, "value", None)
    if not isinstance(value, dict) or ast.unparse(made or place.node) not in ("{}", "dict()"):
        return None
    if not value or not all(map(_is_users, value.values())):
        return None
    kinds = {base for part in root.modules() for base in type(part).__mro__}
    entries = []
    for key, each in value.items():
        code = getattr(each, "__code__", None)
        ran = code and (code.co_filename, code.co_firstlineno) in rw.record.functions
        if (ran or each in kinds) and literal(key) is not None:
            name = need(each, each.__name__, {}, each.__module__, rw.needs, place.node)
            entries.append(f"{literal(key)}: {name}")
    return f"{{{', '.join(entries)}}}"


def _is_users(value: Any) -> bool:
    """Whether a value is a class or a function of the user's, with a name in its file."""
    plain = getattr(value, "__qualname__", "<").isidentifier()
    return plain and is_users(file_of(value))
