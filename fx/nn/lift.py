"""What is built on `Module.functional`: parts lifted out of `forward`, transformed, put back."""

from fx.nn import describe
from fx.nn.module import Module, current, scope_of
from fx.nn.parameter import Buffer


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
