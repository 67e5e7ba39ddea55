"""A model and its PyTorch twin, run side by side: where do they part?"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state

from fx.interop.state_dict import state_dict
from fx.interop.torch_arrays import array_tensor, from_torch, is_tensor, tensor_array
from fx.nn import describe
from fx.nn.module import Module, bind
from fx.nn.scope import Call
from fx.nn.utils import rnn

_SHOWN = 12  # layers in the text


@dataclass(frozen=True)
class LayerDifference:
    """One call of a layer on both sides.

    Attributes:
        name: Dotted name; "" for the model itself.
        kind: The layer's class here.
        call: Which call of this layer, from 0.
        shape: Of its output here; of the first array where it gives several.
        error: Largest difference of its outputs, divided by the largest magnitude of PyTorch's;
            inf where numbers, shapes or NaNs do not correspond at all.
        input_error: The same of its inputs.
        agrees: Whether the error is within the tolerance.
        note: What does not correspond; "" where only numbers differ.
    """

    name: str
    kind: str
    call: int
    shape: tuple[int, ...]
    error: float
    input_error: float
    agrees: bool
    note: str = ""

    def __str__(self) -> str:
        label = f"{self.kind} ({self.name})" if self.name else self.kind
        label += f", call {self.call}" if self.call else ""
        return f"{label} {list(self.shape)}: error {self.error:.2g}" + f"; {self.note}" * bool(
            self.note
        )


@dataclass(frozen=True)
class Differences:
    """What `compare` found; prints as a short text.

    Attributes:
        equal: Whether every output of the whole model agrees.
        first: The first layer whose outputs depart; None where all agree.
        cause: In words, what to look at; "" where all agree.
        layers: Every call of a layer that both sides have, in the order in which PyTorch's end.
        weights: Lines about weights that differ between the two, before anything is run.
        only_here: Names of layers that were called here alone.
        only_torch: Names of layers that were called in PyTorch alone.
        tolerance: What errors are held to.
    """

    equal: bool
    first: LayerDifference | None
    cause: str
    layers: tuple[LayerDifference, ...]
    weights: tuple[str, ...]
    only_here: tuple[str, ...]
    only_torch: tuple[str, ...]
    tolerance: float

    def __getitem__(self, name: str) -> LayerDifference:
        """The first call of a layer, by its dotted name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(repr(layer.name) for layer in self.layers)
        raise KeyError(f"no layer {name!r} was called on both sides; there are {known}")

    def __str__(self) -> str:
        worst = max((layer.error for layer in self.layers), default=0.0)
        calls = f"{len(self.layers)} calls of layers compared, tolerance {self.tolerance:.2g}"
        if self.first is None:
            lines = [f"equal: {calls}, largest error {worst:.2g}"]
        else:
            lines = [f"{'equal' if self.equal else 'different'}: {calls}"]
            lines += [f"  first    {self.first}", f"  cause    {self.cause}"]
            after = [layer for layer in self.layers if not layer.agrees][1:]
            lines += [f"  then     {layer}" for layer in after[:_SHOWN]]
            lines += [f"  then     {len(after) - _SHOWN} more"] * (len(after) > _SHOWN)
        lines += [f"  weights  {line}" for line in self.weights[:_SHOWN]]
        only = (("here", self.only_here), ("torch", self.only_torch))
        lines += [f"  only in {side}: {', '.join(names[:_SHOWN])}" for side, names in only if names]
        return "\n".join(lines)


@dataclass
class _Ran:
    """What one side saw of a call."""

    kind: str
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


def compare(
    model: Module,
    params: dict,
    state: dict,
    torch_module: Any,
    inputs: Any,
    *,
    tolerance: float = 1e-4,
    **kwargs: Any,
) -> Differences:
    """Runs a model and its PyTorch twin on the same inputs, layer by layer, and finds the first
    layer that departs.

    Both run as in evaluation (`train=False`, `eval()`), un-jitted, products in full float32.
    Layers correspond by their dotted names. Neither side is changed.

    Args:
        model: A model of `fx.nn`.
        params: Its params.
        state: Its state.
        torch_module: The twin, a `torch.nn.Module` on any device.
        inputs: One array or tensor, or a tuple of them. For PyTorch, floats are given
            the dtype of its parameters, and int32 becomes int64.
        tolerance: Of the largest difference of two outputs, relative to their largest magnitude.
            For a twin in bfloat16 take 3e-2; on a GPU, where PyTorch's convolutions use TF32, 2e-3.
        **kwargs: Given to both models as they are, arrays as above.

    Returns:
        `Differences`: print it, or read `.equal`, `.first`, `.layers`.

    Raises:
        TypeError: `model` is not of `fx.nn`, or `torch_module` is not a module of PyTorch.

    Example:
        >>> import fx, torch
        >>> model = fx.nn.Sequential(fx.nn.Linear(3, 2), fx.nn.Tanh())
        >>> twin = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sigmoid())
        >>> params, state = fx.load_state_dict(model, twin.state_dict())
        >>> found = compare(model, params, state, twin, np.ones((4, 3)))
        >>> found.equal, found.first.name, found.first.kind
        (False, '1', 'Tanh')
    """
    if not isinstance(model, Module):
        raise TypeError(f"compare: expected a model of fx.nn, got {type(model).__name__}")
    if not hasattr(torch_module, "register_forward_hook"):
        raise TypeError(
            f"compare: expected a torch.nn.Module, got {type(torch_module).__name__}; the order is "
            "compare(model, params, state, torch_module, inputs)"
        )
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return compared(model, params, state, torch_module, inputs, kwargs, tolerance)


def compared(
    model: Module, params: dict, state: dict, torch_module: Any, inputs: tuple, kwargs: dict,
    tolerance: float, options: dict | None = None,
) -> Differences:  # fmt: skip
    """What `compare` does; with options for XLA, the model here compiled as one program."""
    inputs, kwargs = jax.tree.map(_as_array, (inputs, kwargs))
    theirs = _run_torch(torch_module, inputs, kwargs)
    ours = _run_here(model, params, state, inputs, kwargs, options)
    layers = tuple(
        _difference(place, ours[place], theirs[place], tolerance)
        for place in theirs
        if place in ours
    )
    whole = layers[-1]  # the model itself, which ends last
    first = next((layer for layer in layers if not layer.agrees), None)
    weights = _weights(model, params, state, torch_module)
    return Differences(
        equal=whole.agrees,
        first=first,
        cause="" if first is None else _cause(first, layers, weights, tolerance),
        layers=layers,
        weights=tuple(weights.values()),
        only_here=_names(ours, theirs),
        only_torch=_names(theirs, ours),
        tolerance=tolerance,
    )


def _as_array(value: Any) -> Any:
    return tensor_array(value, "compare") if is_tensor(value) else value


def _run_here(
    model: Module, params: dict, state: dict, inputs: tuple, kwargs: dict, options: dict | None
) -> dict[tuple[str, int], _Ran]:
    given, joined = split((inputs, kwargs))
    places: list[tuple[str, int, str]] = []
    counts: dict[str, int] = {}

    def run(params: dict, state: dict, arrays: list) -> list[list[list]]:
        ran, trace = [], get_opaque_trace_state()

        def note(path: tuple[str, ...], part: Module, given: tuple, outputs: Any) -> None:
            if get_opaque_trace_state() != trace:
                return  # inside of a scan or another transformation there are no numbers
            name = ".".join(path)
            counts[name] = counts.get(name, -1) + 1
            places.append((name, counts[name], type(part).__name__))
            ran.append([list(_arrays(given)), list(_arrays(outputs))])

        inputs, kwargs = joined(arrays)
        call = Call(False, None, (), describe.match(model, params, state), note)
        bind(model, call, ())(*inputs, **kwargs)
        return ran

    with jax.default_matmul_precision("highest"):
        if options is not None:
            run = jax.jit(run, compiler_options=options)
        ran = jax.device_get(run(params, state, list(map(jnp.asarray, given))))
    return {(name, call): _Ran(kind, *each) for (name, call, kind), each in zip(places, ran)}


def split(tree: Any) -> tuple[list, Callable[[Iterable], Any]]:
    """The arrays of nested arguments, and a function that puts others in their places."""
    leaves, form = jax.tree.flatten(tree)

    def joined(arrays: Iterable) -> Any:
        rest = iter(arrays)
        return form.unflatten(next(rest) if hasattr(x, "dtype") else x for x in leaves)

    return [leaf for leaf in leaves if hasattr(leaf, "dtype")], joined


def _run_torch(module: Any, inputs: tuple, kwargs: dict) -> dict[tuple[str, int], _Ran]:
    import torch

    ran: dict[tuple[str, int], _Ran] = {}
    counts: dict[str, int] = {}
    names = {part: name for name, part in module.named_modules()}
    modes = {part: part.training for part in names}
    first = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))

    def note(part: Any, given: tuple, outputs: Any) -> None:
        name = names[part]
        counts[name] = counts.get(name, -1) + 1
        kept = [[_numbers(leaf) for leaf in _arrays(tree)] for tree in (given, outputs)]
        ran[name, counts[name]] = _Ran(type(part).__name__, *kept)

    def tensor(array: Any) -> Any:
        if not hasattr(array, "dtype"):
            return array
        found = array_tensor(np.array(array), "compare").to(first.device)
        if found.is_floating_point():
            return found.to(first.dtype)
        return found.long() if found.dtype == torch.int32 else found

    hooks = [part.register_forward_hook(note) for part in names]
    try:
        module.eval()
        with torch.no_grad():
            given, named = jax.tree.map(tensor, (inputs, kwargs))
            module(*given, **named)
    finally:
        for hook in hooks:
            hook.remove()
        module.train(modes[module])  # a `train` of the user's may do more
        for part, mode in modes.items():
            part.training = mode
    return ran


def _numbers(tensor: Any) -> np.ndarray:
    return tensor_array(tensor, "compare").copy()  # a later layer may write into it


def _arrays(tree: Any) -> Iterator[Any]:
    """The arrays and tensors of nested tuples, lists, dicts and dataclasses, in order.

    Dicts by key: those that come out of a compiled function are sorted, PyTorch's are not. Packed
    sequences padded, with their lengths: the two libraries keep them in other forms.
    """
    if type(tree).__name__ == "PackedSequence":
        tree = _padded(tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        tree = {part.name: getattr(tree, part.name) for part in fields(tree)}
    if isinstance(tree, Mapping):
        for name in sorted(tree, key=str):
            yield from _arrays(tree[name])
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for value in tree:
            yield from _arrays(value)
    elif hasattr(tree, "dtype") and hasattr(tree, "shape"):
        yield tree


def _padded(packed: Any) -> tuple[Any, Any]:
    if isinstance(packed, rnn.PackedSequence):
        return rnn.pad_packed_sequence(packed)
    from torch.nn.utils.rnn import pad_packed_sequence

    return pad_packed_sequence(packed)


def _difference(
    place: tuple[str, int], ours: _Ran, theirs: _Ran, tolerance: float
) -> LayerDifference:
    error, note = _error(ours.outputs, theirs.outputs)
    input_error, _ = _error(ours.inputs, theirs.inputs)
    shape = ours.outputs[0].shape if ours.outputs else ()
    name, call = place
    return LayerDifference(
        name, ours.kind, call, shape, error, input_error, error <= tolerance, note
    )


def _error(ours: list[np.ndarray], theirs: list[np.ndarray]) -> tuple[float, str]:
    """The largest relative difference of arrays in the same places, and what cannot be compared."""
    if len(ours) != len(theirs):
        return float("inf"), f"{len(ours)} arrays here, {len(theirs)} in PyTorch"
    worst = 0.0
    for a, b in zip(ours, theirs):
        if a.shape != b.shape:
            return float("inf"), f"shape {list(a.shape)} here, {list(b.shape)} in PyTorch"
        kind = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
        a, b = a.astype(kind), b.astype(kind)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        if not np.isfinite(a[~same]).all() or not np.isfinite(b[~same]).all():
            return float("inf"), "not finite in different places"
        scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
        distance = np.abs(a[~same] - b[~same]).max(initial=0.0)
        worst = max(worst, float(distance / scale) if scale else float(distance))
    return worst, ""


def _weights(model: Module, params: dict, state: dict, torch_module: Any) -> dict[str, str]:
    """A line for each weight that is missing on a side or differs, by name."""
    ours = {name: np.asarray(value) for name, value in state_dict(model, params, state).items()}
    theirs = from_torch({n: v for n, v in torch_module.state_dict().items() if is_tensor(v)})
    lines = {name: f"{name} is here only" for name in ours if name not in theirs}
    lines |= {name: f"{name} is in PyTorch only" for name in theirs if name not in ours}
    for name in ours:
        if name in theirs:
            error, note = _error([ours[name]], [theirs[name].astype(ours[name].dtype)])
            if error:
                lines[name] = f"{name}: error {error:.2g}" + f"; {note}" * bool(note)
    return lines


def _cause(
    first: LayerDifference,
    layers: tuple[LayerDifference, ...],
    weights: dict[str, str],
    tolerance: float,
) -> str:
    inner = [w for w in weights if w.rpartition(".")[0] == first.name]
    parent = first.name.rpartition(".")[0]
    holder = f'"{parent}"' if parent else "the model"
    if first.input_error > tolerance:
        before = layers[: layers.index(first)]
        after = f' after "{before[-1].name}"' if before else ""
        return f"its inputs differ already: look at the forward of {holder}{after}"
    if inner:
        return f"its weights differ: {', '.join(inner)}"
    if any(layer.name.startswith(f"{first.name}.") or not first.name for layer in layers[:-1]):
        return "its parts agree and its inputs do: look at its forward, after its last part"
    return "its inputs agree: look at its arguments and its forward"


def _names(some: dict[tuple[str, int], Any], others: dict) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, call in some if (name, call) not in others))
