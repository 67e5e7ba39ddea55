"""Expressions that make a model, broken into lines that fit."""

from dataclasses import dataclass, field

WIDTH = 100


@dataclass
class Made:
    """A call as text: what is called, and its arguments, each with what stands before it."""

    head: str
    args: list[tuple[str, "Made | str"]] = field(default_factory=list)
    close: str = ")"

    def flat(self) -> str:
        """The call on one line."""
        inner = ", ".join(
            before + (a if isinstance(a, str) else a.flat()) for before, a in folded(self)
        )
        return f"{self.head}{inner}{self.close}"


def folded(made: Made) -> list[tuple[str, "Made | str"]]:
    """The arguments, equal neighbours without names as one comprehension."""
    found: list[tuple[str, Made | str]] = []
    at = 0
    while at < len(made.args):
        before, arg = made.args[at]
        n = 1
        if not before and isinstance(arg, Made):
            text = arg.flat()
            while at + n < len(made.args) and _is(made.args[at + n], text):
                n += 1
        found.append((before, arg) if n == 1 else ("*", Made("[", [("", arg), ("", _For(n))], "]")))
        at += n
    return found


def _is(arg: tuple[str, "Made | str"], text: str) -> bool:
    return not arg[0] and isinstance(arg[1], Made) and arg[1].flat() == text


class _For(Made):
    """The end of a comprehension."""

    def __init__(self, n: int):
        super().__init__(f"for _ in range({n})", [], "")


def lines(made: "Made | str", indent: int, used: int = 0) -> str:
    """The call as text, from the column `indent + used` on; lines after it are indented."""
    if isinstance(made, str):
        return made
    flat = made.flat().replace(", for _", " for _")
    if indent + used + len(flat) < WIDTH or not made.args:
        return flat
    pad, out = " " * (indent + 4), []
    parts = folded(made)
    for place, (before, arg) in enumerate(parts):
        text = lines(arg, indent + 4, len(before))
        follows = parts[place + 1][1] if place + 1 < len(parts) else None
        out.append(
            f"{pad}{before}{text}"
            + ("" if isinstance(arg, _For) or isinstance(follows, _For) else ",")
        )
    return f"{made.head}\n" + "\n".join(out) + f"\n{' ' * indent}{made.close}"
