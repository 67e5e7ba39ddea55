"""`x.stride()` and `x.as_strided(...)`: as of a tensor whose numbers lie in order."""

from fx.porting.calls.calls import Call
from fx.porting.read.names import need_twin
from fx.porting.read.record import Shape


def _check(call: Call) -> None:
    seen = [part for fact in call.facts for part in fact.args[:1] if isinstance(part, Shape)]
    if not all(part.in_order for part in seen):
        raise call.obstacle("how the numbers of a view lie is not known here; take x.contiguous()")


def strides(call: Call) -> str:
    """All of them, or that of one axis."""
    _check(call)
    text = f"{need_twin('strides', call.rewriter.needs)}({call.text(call.args[0])})"
    dim = call.argument(1, "dim")
    return text if dim is None else f"{text}[{call.text(dim)}]"


def as_strided(call: Call) -> str:
    """A function in the ported file, which takes the numbers by their places."""
    _check(call)
    name = need_twin("as_strided", call.rewriter.needs)
    given = [call.text(arg) for arg in call.args]
    given += [f"{word}={call.text(value)}" for word, value in call.kwargs.items()]
    return f"{name}({', '.join(given)})"
