"""What is built on the pure function of a part: lifted out of `forward`, transformed, put back."""

from typing import Any

from fx.nn import describe
from fx.nn.capture import Inside, Watch
from fx.nn.crossing import crossing
from fx.nn.keys import Copies, Path
from fx.nn.module import Module, bind, current, scope_of
from fx.nn.parameter import Buffer
from fx.nn.scope import Call


def record_state(module: Module, state: dict) -> None:
    """In `forward`: record a whole new state of a part that ran through `functional`.

    Args:
        module: a part of the module whose `forward` runs.
        state: what the function from ``module.functional()`` returned as its new state.

    Raises:
        ValueError: names or shapes are not those of the part's state.
    """
    scope = scope_of(module, "state can be recorded")
    arrays = describe.match(scope.description, current(module)[0], state)
    for path, part in describe.modules(module):
        for name in vars(part):
            if isinstance(vars(part._scope.description)[name], Buffer):  # type: ignore[union-attr]
                setattr(part, name, arrays[(*path, name)])


class Lifted:
    """A part of a running `forward` as a pure function, for a transformation by fx itself.

    Unlike what `Module.functional` gives, it keeps the part's full name, and so its keys: what
    is drawn inside is what would be drawn without the transformation. Whether it changed state,
    drew keys or captured outputs is known after a run; `put_back` brings all of it outside.

    Args:
        view: the part, in `forward`.
        description: what runs in its place, declaring the same arrays.
        train: the mode; None is that of the surrounding call.
        n: how many copies one run stands for, where they have names of their own.
        carried: there is no transformation, and scratch goes in and comes out.
    """

    def __init__(
        self, view: Any, description: Any, *, train: bool | None = None, n: int | None = None,
        carried: bool = False,
    ):  # fmt: skip
        self.carried = carried
        self.view, self.description = view, description
        self.scope = scope_of(view, "a part can be transformed")
        self.outer, self.path = self.scope.call, self.scope.path
        self.train = self.scope.train if train is None else train
        depth, watch = len(self.path), self.outer.on_call
        self.arrays = {p: a for p, a in self.outer.arrays.items() if p[:depth] == self.path}
        name = self.outer.name + self.path
        self.inside = Inside(watch, name, n) if isinstance(watch, Watch) else None
        self.perturb = self.inside.perturb if self.inside else {}

    def __call__(
        self, arrays: dict[Path, Any], perturb: dict[str, Any], inputs: tuple, kwargs: dict,
        *, key: Any, copies: Copies = (),
    ) -> tuple[Any, dict[Path, Any], dict[str, Any]]:  # fmt: skip
        """Run; returns outputs, the buffers that were assigned, and what was captured."""
        outer = self.outer
        watch = self.inside.watch(perturb) if self.inside else None
        call = Call(
            self.train, key, outer.name, dict(arrays), watch or outer.on_call, dict(outer.draws),
            outer.copies + copies,
        )  # fmt: skip
        inner = bind(self.description, call, self.path)
        with crossing(inner, self.view, self.carried):
            outputs = inner(*inputs, **kwargs)
        self.draws = call.draws
        written = {p: a for p, a in call.arrays.items() if a is not arrays[p]}
        return outputs, written, watch.seen if watch else {}

    def put_back(self, written: dict[Path, Any], seen: dict[str, Any]) -> None:
        """Record outside of the transformation what a run did inside."""
        if self.draws != self.outer.draws:
            self.scope.check_trace("a key is drawn")
            self.outer.draws.update(self.draws)
        for path, value in written.items():
            part = self.view
            for step in path[len(self.path) : -1]:
                part = vars(part)[step]
            setattr(part, path[-1], value)
        if self.inside:
            self.inside.hand_on(seen)
