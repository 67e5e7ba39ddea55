"""The names of the function that is being written."""

from typing import Any

from fx.porting.read.sources import imports, local_names


class Scope:
    """The names of a function, while it is written."""

    def __init__(self, rewriter: Any, function: Any):
        self.rewriter, self.function = rewriter, function

    def __enter__(self) -> None:
        if not self.rewriter.functions:
            self.rewriter.given.clear()
        bound = imports(self.function, self.rewriter.place.module)
        self.before = self.rewriter.imports
        self.rewriter.imports = self.before | bound
        self.rewriter.scopes.append(local_names(self.function) - bound.keys())
        self.rewriter.functions.append(self.function)

    def __exit__(self, *_: Any) -> None:
        self.rewriter.scopes.pop()
        self.rewriter.functions.pop()
        self.rewriter.imports = self.before
