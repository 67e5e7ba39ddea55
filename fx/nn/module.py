"""The contract: a model is a frozen description; `init` makes its arrays, `apply` runs it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax

from fx.nn import declare, describe, show, spelled
from fx.nn.assign import record
from fx.nn.capture import TopWatch
from fx.nn.crossing import crossing
from fx.nn.given import unchanging
from fx.nn.initial import initialise
from fx.nn.keys import check_key
from fx.nn.parameter import Buffer, Parameter
from fx.nn.scope import Call, Path, Scope

RESERVED = ("init", "apply", "forward", "functional")


class Module(metaclass=describe.Freezing):
    """A frozen description of a computation; subclasses write `__init__` and `forward`.

    Attributes assigned in `__init__` are the description: other modules, `nn.Parameter` and
    `nn.Buffer` declarations, and hashable values (lists become tuples). Descriptions compare and
    hash by what they hold, print as PyTorch's models do, and pickle. In `forward` a declaration
    reads as its array, and assigning a `Buffer` records new state; `nn.Scratch` declares what else
    can be assigned there.
    Functions compare by identity: one made anew, a lambda say, makes `jax.jit` compile anew.
    `nn.Module()` by itself takes parts by assignment until it is used, or its owner is made.

    Source: torch.nn.Module; docs/from-pytorch.md says what its other methods became.
    """

    __slots__ = ("__dict__", "_scope", "_apply", "_init", "_identity", "_hash", "__weakref__")
    _grows = False  # containers take parts until they are used, and so does a bare Module
    _folds = False  # ModuleList prints equal neighbours as one line
    _scope: Scope | None

    def __init__(self) -> None:
        """Does nothing; a subclass may call it or not."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in RESERVED:
            if name in vars(cls) and name != "forward":
                raise TypeError(f"{cls.__name__}.{name} would replace Module.{name}; rename it")

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The computation; subclasses define it."""
        raise TypeError(f"{where(self)} has no forward; define forward(self, ...)")

    @property
    def init(self) -> "Init":
        """``init(key) -> (params, state)``: two nested dicts of arrays, keyed by attribute."""
        return describe.kept(self, "_init", Init)

    @property
    def apply(self) -> "Apply":
        """``apply(params, state, *inputs, train=False, key=None, **kwargs) -> (outputs, state)``.

        Pure: nothing is changed, `state` comes back with the structure it went in with. `train` is
        a Python bool. `key` is needed where something random runs with ``train=True``. Floats that
        come in NumPy's arrays are JAX's in `forward`, but where a program is traced. Equal
        descriptions have equal `apply`s, so ``jax.jit(model.apply)`` compiles once for both.
        ``capture=["layer1", "*.relu"]`` returns the outputs of parts beside the model's:
        ``((outputs, captured), state)``, a dict by name, "relu#2" being relu's second call.
        ``perturb={name: array}`` adds to an output: its gradient is that of the intermediate.

        Raises:
            ValueError: names or shapes in params or state are not those of the model; a name in
                capture or perturb is that of no call.
            TypeError: `train` is not a bool (a traced one: use ``static_argnames="train"``).
        """
        return describe.kept(self, "_apply", Apply)

    @property
    def training(self) -> bool:
        """Whether `apply` was called with ``train=True``; known in `forward` only."""
        scope = scope_of(self, "training is known")
        if scope.train is None:
            raise RuntimeError(f"{scope.where()}: training is known to parts of a model only")
        return scope.train

    def next_key(self) -> jax.Array:
        """A new PRNG key for this part; the n-th draw of a part is the same in every run."""
        return scope_of(self, "keys can be drawn").next_key()

    def functional(self) -> tuple[Callable[..., tuple[Any, dict]], tuple[dict, dict]]:
        """In `forward`: lift a part out as a pure function and its params and state.

        Returns:
            ``fn, (params, state)``. ``fn(params, state, *inputs, key=None, **kwargs)`` gives
            ``(outputs, new_state)`` in the mode (train or not) of the surrounding call, and may
            be transformed at will; `nn.record_state` puts a new state back.
        """
        scope = scope_of(self, "a part can be lifted out")

        def fn(params: dict, state: dict, /, *inputs: Any, key: Any = None, **kwargs: Any):
            call = scope.lift(key, describe.match(scope.description, params, state))
            view = bind(scope.description, call, ())
            with crossing(view, self):
                return view(*inputs, **kwargs), describe.rewrite(state, call.arrays)

        return fn, current(self)

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run `forward`; inside of `apply`, or on a description without parameters."""
        if (scope := getattr(self, "_scope", None)) is None:
            return _call_unbound(self, inputs, kwargs)
        if wraps := vars(self).get(describe.WRAPS):
            return wraps[-1](self, wraps[:-1], inputs, kwargs)
        try:
            with jax.named_scope(".".join(scope.call.name + scope.path) or type(self).__name__):
                outputs = self.forward(*inputs, **kwargs)
        except Exception as error:
            said = str([error, *getattr(error, "__notes__", ())])
            if scope.where() not in said and "in part " not in said:
                error.add_note(f"in part {scope.where()}{spelled.hint(error)}")
            raise
        if scope.call.on_call is not None:
            changed = scope.call.on_call(scope.call.name + scope.path, self, inputs, outputs)
            return outputs if changed is None else changed
        return outputs

    def __setattr__(self, name: str, value: Any) -> None:
        scope: Any = getattr(self, "_scope", self)
        if scope is self:  # still in __init__
            describe.check_name(self, name, RESERVED)
            object.__setattr__(self, name, value)
        elif scope is None:
            raise AttributeError(
                f"{type(self).__name__} is frozen after __init__: {name!r} cannot change. Use "
                f"nn.replace(model, {name!r}, new) for a changed copy, nn.mark for a new "
                "attribute, nn.tie to share weights"
            )
        else:
            record(self, scope, name, value)

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)  # raises but in __init__
        object.__delattr__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name in vars(self):  # asked for by name, `self.__getattr__("head")`, as in torch
            return vars(self)[name]
        raise AttributeError(show.missing(self, name))

    register_buffer = declare.register_buffer
    register_parameter = declare.register_parameter
    add_module = declare.add_module

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module and every part, with dotted names, in the order of the description."""
        return ((".".join(path), module) for path, module in describe.modules(self))

    def extra_repr(self) -> str:
        """What `print` shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        return show.text(self)

    def __eq__(self, other: object) -> bool:
        if self is other or type(self) is not type(other) or hash(self) != hash(other):
            return self is other
        return describe.identity(self) == describe.identity(other)

    def __hash__(self) -> int:
        return describe.ready(self)._hash  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple:
        if getattr(self, "_scope", None) is not None:
            raise TypeError(f"{where(self)}: a part inside of forward cannot be pickled or copied")
        return describe.rebuild, (type(self), dict(vars(self)))


@dataclass(frozen=True)
class Init:
    """`Module.init`, comparable by description."""

    module: Module

    def __call__(self, key: jax.Array) -> tuple[dict, dict]:
        """Make the arrays; see `Module.init`."""
        return initialise(self.module, key)


@dataclass(frozen=True)
class Apply:
    """`Module.apply`, comparable by description."""

    module: Module

    def __call__(
        self, params: dict, state: dict, /, *inputs: Any, train: bool = False, key: Any = None,
        capture: Any = None, perturb: Any = None, **kwargs: Any,
    ) -> tuple[Any, dict]:  # fmt: skip
        """Run the model; see `Module.apply`."""
        if not isinstance(train, bool):
            raise TypeError(
                f"{type(self.module).__name__}.apply: expected train to be a Python bool, got "
                f'{train!r}; under jax.jit name it: jax.jit(model.apply, static_argnames="train")'
            )
        if key is not None:
            check_key(f"{type(self.module).__name__}.apply", key)
        watch = None if capture is None and perturb is None else TopWatch(capture, perturb)
        call = Call(train, key, (), describe.match(self.module, params, state), watch)
        outputs, state = run(self.module, call, state, inputs, kwargs)
        return (watch.result(outputs) if watch else outputs), state


def run(module: Module, call: Call, state: dict, inputs: tuple, kwargs: dict) -> tuple[Any, dict]:
    """Bind views, run `forward`, and collect the new state in the old one's structure."""
    inputs, kwargs = unchanging((inputs, kwargs))
    return bind(module, call, ())(*inputs, **kwargs), describe.rewrite(state, call.arrays)


def bind(module: Module, call: Call, path: Path, made: Any = None, train: Any = None) -> Any:
    """Copy a description shallowly, its declarations replaced by arrays and its parts by views."""
    made, train = ({}, call.train) if made is None else (made, train)
    train = False if describe.always_evaluates(module) else train  # and so do all parts of it
    view = made[path] = object.__new__(type(module))
    for name, value in vars(module).items():
        if isinstance(value, Module):
            value = bind(value, call, (*path, name), made, train)
        elif isinstance(value, Parameter | Buffer):
            value = call.arrays[(*path, name)]
        vars(view)[name] = value
    for alias, source in describe.ties(module):
        if (*path, *source) in made:  # a whole part is tied: both names read one view
            holder = made[(*path, *alias[:-1])]
            vars(holder)[alias[-1]] = made[(*path, *alias)] = made[(*path, *source)]
    object.__setattr__(view, "_scope", Scope(call, path, module, train))
    return view


def where(module: Module) -> str:
    """How errors name a part: `Conv2d "layer1.0.conv1"` in `forward`, the class outside."""
    scope = getattr(module, "_scope", None)
    return type(module).__name__ if scope is None else scope.where()


def current(view: Module) -> tuple[dict, dict]:
    """Params and state of a bound part as they stand."""
    scope = scope_of(view, "a part can be read")
    return describe.collect(scope.description, scope.call.arrays, scope.path)


def scope_of(module: Module, what: str) -> Scope:
    """The scope of a view; an error on a description."""
    scope = getattr(module, "_scope", None)
    if scope is None:
        raise RuntimeError(f"{type(module).__name__}: {what} in forward only, inside of apply")
    return scope


def _call_unbound(module: Module, inputs: tuple, kwargs: dict) -> Any:
    """Let `nn.ReLU()(x)` and `nn.CrossEntropyLoss(weight)(x, y)` work as they do in torch."""
    declared = any(True for _ in describe.leaves(describe.frozen(module)))
    params, state = module.init(jax.random.key(0)) if declared else ({}, {})
    if params:
        raise TypeError(
            f"{type(module).__name__} has parameters and cannot be called by itself; "
            "use params, state = model.init(key) and model.apply(params, state, x), or for another "
            "method than forward nn.method(model, name).apply"
        )
    call = Call(None, None, (), describe.match(module, params, state))
    return bind(module, call, ())(*inputs, **kwargs)
