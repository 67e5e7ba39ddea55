"""Both models on the same inputs, as a whole: outputs, and what training changes."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.interop.compare import Differences, _arrays, _error, compared, split
from fx.interop.state_dict import state_dict
from fx.interop.torch_arrays import is_tensor, tensor_array
from fx.porting.model.bound import anew
from fx.porting.proof import fixed
from fx.porting.proof.modes import evaluating
from fx.porting.read.live import plain

# What runs once is compiled without XLA's costly passes, and first without the emitters that take
# most of the rest: then a softmax has been seen to be infinite. Later versions have no such switch.
_LEAN = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
_EMITTERS = "xla_cpu_use_fusion_emitters"
_DRAWS = 8  # after which a model that drops something, one time in ten, has most probably done so
_TRIES = [_LEAN]
if jax.__version_info__ < (0, 11):
    _TRIES = [_LEAN | {_EMITTERS: False}, _LEAN | {_EMITTERS: True}]


def layers(found: Any, module: Any, inputs: tuple, kwargs: dict) -> Differences:
    """`fx.compare`, quicker where all agrees: compiled, and un-jitted where something departs."""
    given = found.model, found.params, found.state, module, inputs, kwargs, found.tolerance
    try:
        with unchanged(module):
            report = compared(*given, options=_TRIES[0])
    except (TypeError, IndexError):  # what depends on values does not compile
        report = None
    if report is not None and report.first is None:
        return report
    with unchanged(module):
        return compared(*given)


def evaluation_error(found: Any, module: Any, inputs: tuple, kwargs: dict) -> float:
    """The largest relative difference of outputs in evaluation, the ported model compiled."""
    theirs = evaluated(module, inputs, kwargs)
    error = float("inf")
    for ours, _ in runs(found, inputs, kwargs):
        error = _error(numbers(ours), theirs)[0]
        if error <= found.tolerance:
            break
    return error


def rounding(found: Any, module: Any, inputs: tuple, kwargs: dict) -> tuple | None:
    """Error and report in float64 and what to say of it, where it is rounding alone that differs.

    Both are equal there, and PyTorch's own float32 is as far from its float64 as the port is.
    """
    with contextlib.suppress(Exception):  # whatever says that one of them is not for float64
        theirs = evaluated(module, inputs, kwargs)
        with in_float64(found, module, inputs, kwargs) as (twin, double, *given):
            error, own = evaluation_error(twin, double, *given), evaluated(double, *given)
            report = layers(twin, double, *given) if found.report is not None else None
        own = _error([x.astype(y.dtype) for x, y in zip(theirs, own, strict=True)], own)[0]
        if error <= found.tolerance / 1000 and found.error <= 10 * own:
            said = f"outputs differ by {found.error:.2g} in float32, and by {error:.2g} in float64"
            return error, report, f"{said}: the model enlarges rounding, PyTorch's own to {own:.2g}"
    return None


def evaluated(module: Any, inputs: tuple, kwargs: dict) -> list[np.ndarray]:
    """PyTorch's outputs in evaluation."""
    import torch

    with torch.no_grad(), unchanged(module), evaluating(module):
        given, named = copied((inputs, kwargs))
        return numbers(module(*given, **named))


@contextlib.contextmanager
def unchanged(module: Any) -> Iterator[None]:
    """Buffers have their values again afterwards: a run may count, say."""
    import torch

    before = [
        (part._buffers, name, tensor, tensor.clone())
        for part in module.modules()
        for name, tensor in part._buffers.items()
        if tensor is not None
    ]
    try:
        yield
    finally:
        for buffers, name, tensor, value in before:
            now = buffers.get(name)
            if now is None or (now.shape, now.dtype) != (value.shape, value.dtype):
                continue  # a cache that has grown
            with torch.no_grad():
                buffers[name] = tensor.copy_(value)


def same_buffers(module: Any, other: Any) -> None:
    """Give a copy of a model, from before that ran, the buffers that it has."""
    buffers = dict(other.named_buffers())
    for path, part in module.named_modules():
        for name, held in part._buffers.items():
            value = buffers.get(f"{path}.{name}".lstrip("."))
            if held is not None and value is not None and held.shape == value.shape:
                part._buffers[name] = value.detach().clone()


def training(found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    """How outputs and new state in training compare: "equal", "random", or what differs.

    What differs is compared in float64, too: normalised, two values of a batch enlarge rounding.
    """
    said = _in_either(_training, found, module, inputs, kwargs)
    if said == "random":
        with contextlib.suppress(Exception), fixed.draws():  # not all that draws does so there
            again = _in_either(_with_draws, found, module, inputs, kwargs)
            return f"with the same random numbers in both, {again}" if "differ" in again else said
        next(runs(found, inputs, kwargs, train=True, key=jax.random.key(0)))  # raises, if it does
    return said


def _in_either(asked: Callable, found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    """What a comparison says, in float64 where it is another in float32."""
    said = asked(found, module, inputs, kwargs)
    if "differ" in said:
        with contextlib.suppress(Exception):  # whatever says that one of them is not for float64
            with in_float64(found, module, inputs, kwargs) as given:
                again = asked(*given)
            return again if again == "equal" else said  # it may not run there
    return said


def _with_draws(found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    """How training compares where both draw the same; "random" where PyTorch draws besides."""
    import torch

    before = torch.get_rng_state()
    theirs, trained = _trained(module, inputs, kwargs)
    if not torch.equal(before, torch.get_rng_state()):
        return "random"
    if _varies(module, inputs, kwargs, theirs, 1):
        return "random"
    return _as_trained(found, inputs, kwargs, theirs, trained, jax.random.key(0))


def _training(found: Any, module: Any, inputs: tuple, kwargs: dict) -> str:
    import torch

    try:
        before = torch.get_rng_state()
        theirs, trained = _trained(module, inputs, kwargs)
        drew = not torch.equal(before, torch.get_rng_state())
    except Exception as error:  # it does not train on these inputs, or cannot be copied
        return f"not run: {(str(error).splitlines() or [type(error).__name__])[0]}"
    try:
        said = _as_trained(found, inputs, kwargs, theirs, trained)
        # What differs may be drawn by something else than torch.
        varies = said != "equal" and _varies(module, inputs, kwargs, theirs, 1)
        return "random" if varies or drew else said
    except NotImplementedError as error:
        return str(error)
    except ValueError as error:
        if "expected a key" not in str(error):
            raise
    if drew or _varies(module, inputs, kwargs, theirs, _DRAWS):
        return "random"
    # It would draw, but drops nothing: rates are 0, as Hugging Face's often are.
    return _as_trained(found, inputs, kwargs, theirs, trained, jax.random.key(0))


@contextlib.contextmanager
def in_float64(found: Any, module: Any, inputs: tuple, kwargs: dict) -> Iterator[tuple]:
    """The port, the model and what both are given in float64, for what float32 rounds too much.

    Raises:
        RuntimeError: PyTorch's model has no float64.
    """

    def wide(array: Any) -> Any:
        return array.astype(jnp.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array

    def double(leaf: Any) -> Any:
        return leaf.double() if is_tensor(leaf) and leaf.is_floating_point() else leaf

    given = jax.tree.map(double, (inputs, kwargs), is_leaf=is_tensor)
    with jax.enable_x64(True):
        params, state = jax.tree.map(wide, (found.params, found.state))
        twin = dataclasses.replace(found, params=params, state=state)
        yield twin, separate(module).double(), *given


def _trained(module: Any, inputs: tuple, kwargs: dict) -> tuple[list[np.ndarray], Any]:
    """PyTorch's outputs in training, and the copy of the model that gave them."""
    import torch

    trained = separate(module).train()
    with torch.no_grad():
        given, named = copied((inputs, kwargs))
        return numbers(trained(*given, **named)), trained


def _varies(module: Any, inputs: tuple, kwargs: dict, theirs: list, times: int) -> bool:
    """Whether one of so many more runs of PyTorch's model in training gives other outputs."""
    for _ in range(times):
        again, _ = _trained(module, inputs, kwargs)
        pairs = zip(theirs, again, strict=True)
        if not all(np.array_equal(*pair, equal_nan=pair[0].dtype.kind in "fc") for pair in pairs):
            return True
    return False


def _as_trained(
    found: Any, inputs: tuple, kwargs: dict, theirs: list[np.ndarray], trained: Any, key: Any = None
) -> str:
    said = ""
    for outputs, state in runs(found, inputs, kwargs, train=True, key=key):
        said = _differing(found, outputs, theirs) or _state(found, state, trained)
        if said == "equal":
            break
    return said


def copied(inputs: Any, detached: bool = True) -> Any:
    """Inputs of which a model may write to the tensors, as `x.mul_(2)` does."""

    def copy_of(leaf: Any) -> Any:
        if not is_tensor(leaf):
            return leaf
        return (leaf.detach() if detached else leaf).clone()

    return jax.tree.map(copy_of, inputs, is_leaf=is_tensor)


def duplicate(module: Any) -> Any:
    """A copy of a model; the model itself where it cannot be copied."""
    try:
        return separate(module)
    except Exception:  # of what it holds, which may be anything
        return module


def separate(module: Any) -> Any:
    """A copy of a model, which shares what it holds that cannot be copied: settings, say."""
    memo: dict[int, Any] = {}
    with contextlib.suppress(Exception):  # of what it holds, which may be anything
        return anew(copy.deepcopy(module, memo), memo)
    memo = {}
    for value in (value for part in module.modules() for value in plain(part).values()):
        try:
            copy.deepcopy(value)
        except Exception:
            memo[id(value)] = value
    return anew(copy.deepcopy(module, memo), memo)


def passing(
    fresh: Any, inputs: tuple, kwargs: dict, names: set[str], always: set[str]
) -> dict[str, bool]:
    """Which attributes a call assigns before it reads them, and whether they are None before.

    Args:
        fresh: A copy of the model from before it ran.
        inputs: Its inputs.
        kwargs: Those by name.
        names: Attributes that several methods share.
        always: Those of them that are assigned whatever the inputs are.
    """
    before = {name: _before(fresh, name) for name in names}
    values = (bool, int, float, str)  # which another way through the forward may keep
    asked = {n for n, v in before.items() if n in always or not isinstance(v, values)}
    if asked and not _runs_without(fresh, inputs, kwargs, asked):
        asked = {name for name in asked if _runs_without(fresh, inputs, kwargs, {name})}
    if any(before[name] is None for name in asked) and hands_on(fresh, inputs, kwargs):
        asked = {name for name in asked if before[name] is not None}
    return {name: before[name] is None for name in sorted(asked)}


def _before(module: Any, name: str) -> Any:
    """The value of an attribute in the first part that has one; ... where none has."""
    return next((vars(part)[name] for part in module.modules() if name in vars(part)), ...)


def hands_on(module: Any, inputs: tuple, kwargs: dict) -> bool:
    """Whether a second call of the same inputs gives something else than the first one."""
    tried = duplicate(module)
    first, second = (evaluated(tried, inputs, kwargs) for _ in range(2))
    return any(not np.array_equal(*pair) for pair in zip(first, second, strict=True))


def _runs_without(module: Any, inputs: tuple, kwargs: dict, names: set[str]) -> bool:
    """Whether a model runs without what parts hold under some names; None stays."""
    tried = duplicate(module)
    if tried is module:
        return False
    for part in tried.modules():
        for name in names & vars(part).keys():
            if vars(part)[name] is not None:
                delattr(part, name)
    try:
        evaluated(tried, inputs, kwargs)
    except Exception:  # of whatever asks for what is not there
        return False
    return True


def runs(
    found: Any, inputs: tuple, kwargs: dict, train: bool = False, key: Any = None
) -> Iterator[tuple[Any, dict]]:
    """Outputs and state of the ported model, each time compiled in another way."""
    arrays, joined = arguments(inputs, kwargs)

    def call(params: dict, state: dict, arrays: list) -> tuple[Any, dict]:
        inputs, kwargs = joined(arrays)
        outputs, state = found.model.apply(params, state, *inputs, train=train, key=key, **kwargs)
        return jax.tree.map(lambda leaf: None if _is_plain(leaf) else leaf, outputs), state

    yield from compiled(call, found.params, found.state, arrays)


def compiled(function: Callable, *args: Any) -> Iterator[Any]:
    """What a function gives, each time compiled in another way."""
    for options in _TRIES:
        run = jax.jit(function, compiler_options=options)
        with jax.default_matmul_precision("highest"):
            ran = run(*args)
        yield ran


def _is_plain(leaf: Any) -> bool:
    """Whether it is a number of Python's, which a compiled function would make an array of."""
    return isinstance(leaf, bool | int | float | complex)


def arguments(inputs: tuple, kwargs: dict) -> tuple[list, Any]:
    """The arrays among a call's arguments, and what puts others in their places."""
    return split(_here((inputs, kwargs)))


def _differing(found: Any, outputs: Any, theirs: list[np.ndarray]) -> str:
    error, note = _error(numbers(outputs), theirs)
    if error <= found.tolerance:
        return ""
    return f"outputs differ: error {error:.2g}" + f"; {note}" * bool(note)


def _state(found: Any, state: dict, trained: Any) -> str:
    from fx.nn.describe import flatten

    frozen = {name: p for name, p in trained.named_parameters() if not p.requires_grad}
    buffers = {**frozen, **dict(trained.named_buffers())}
    for path, value in flatten(state):
        name = ".".join(path)
        if name in buffers:
            pair = np.asarray(value), tensor_array(buffers[name], "port")
            error, _ = _error([pair[0]], [pair[1]])
            spread = buffers.get(name.removesuffix("mean") + "var")
            if error > found.tolerance and spread is not None and name.endswith("running_mean"):
                # A mean that is 0 but for rounding is held to the deviation around it.
                error = float(
                    np.max(abs(pair[0] - pair[1]) / (spread.detach().sqrt().numpy() + 1e-12))
                )
            if error > found.tolerance:
                return f"{name} differs afterwards: error {error:.2g}"
    ours = state_dict(found.model, found.params) if frozen else {}
    for name in sorted(ours.keys() & frozen.keys()):  # which batch_norm may have been given
        error, _ = _error([np.asarray(ours[name])], [tensor_array(frozen[name], "port")])
        if error > found.tolerance:
            return f"{name} differs afterwards, which is a weight: error {error:.2g}"
    return "equal"


def _here(tree: Any) -> Any:
    """Tensors as arrays, integers in JAX's width."""
    return jax.tree.map(
        lambda leaf: jax.numpy.asarray(tensor_array(leaf, "port")) if is_tensor(leaf) else leaf,
        tree,
        is_leaf=is_tensor,
    )


def numbers(tree: Any) -> list[np.ndarray]:
    """The arrays of outputs, in NumPy."""
    return [
        tensor_array(leaf, "port").copy() if is_tensor(leaf) else np.asarray(leaf)
        for leaf in _arrays(tree)
    ]
