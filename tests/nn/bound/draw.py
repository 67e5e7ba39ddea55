"""One layer or function of torch.nn with drawn arguments, and whether fx stays within its bound.

The bound: the largest error of fx in float32 against torch in float64 is at most twice torch's own
in float32, and 1e-6 of the array's largest element. It holds for outputs, gradients to parameters
and floating inputs, and new state. Where torch raises, fx raises.

In bfloat16 all three have the same rounded inputs and weights, and what is allowed besides is one
rounding of the result, `ROUNDING` of the largest element.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn.utils import rnn as torch_rnn

import fx
from fx import functional as F
from fx import nn

RAISED = (ValueError, TypeError, NotImplementedError)
# Rounding to the 8 significant bits of bfloat16 departs by half of the last one: at most 2^-8.
ROUNDING = 2.0**-8
JAX = {torch.float32: jnp.float32, torch.bfloat16: jnp.bfloat16}


@dataclass
class Draw:
    """A name of torch.nn (or, in lower case, of torch.nn.functional), and what it is given."""

    name: str
    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    on: tuple = ()  # arrays and other positional values
    call: dict[str, Any] = field(default_factory=dict)
    train: bool = False
    still: tuple[int, ...] = ()  # positions of `on` to which torch gives no gradient
    lengths: list[int] | None = None  # the first input is packed by them

    def __str__(self) -> str:
        parts = [repr(_brief(a)) for a in self.args]
        parts += [f"{k}={_brief(v)!r}" for k, v in self.kwargs.items()]
        given = [str(_brief(a)) for a in self.on]
        given += [f"{k}={_brief(v)}" for k, v in self.call.items()]
        mode = " train" if self.train else ""
        packed = f" lengths={self.lengths}" if self.lengths else ""
        return f"{self.name}({', '.join(parts)}) on {', '.join(given)}{mode}{packed}"

    @property
    def is_function(self) -> bool:
        return self.name[0].islower()


@dataclass(frozen=True)
class Part:
    """A layer that is an argument of another."""

    name: str
    args: tuple
    kwargs: dict[str, Any]


def rounded(draw: Draw) -> Draw:
    """The draw with the nearest numbers of bfloat16, still kept as float32."""

    def near(value):
        if isinstance(value, tuple):
            return tuple(map(near, value))
        if isinstance(value, np.ndarray) and value.dtype == np.float32:
            return np.asarray(value.astype(jnp.bfloat16), np.float32)
        return value

    kwargs, call = ({k: near(v) for k, v in d.items()} for d in (draw.kwargs, draw.call))
    return replace(draw, kwargs=kwargs, on=near(draw.on), call=call)


def _brief(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Part):
        return f"{value.name}{value.args}"
    return getattr(value, "__name__", value)


def tensor(value, dtype):
    """An array as torch takes it: integers as int64, floats in the dtype."""
    if isinstance(value, Part):
        return getattr(torch.nn, value.name)(*value.args, **value.kwargs)
    if isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
        return tuple(tensor(v, dtype) for v in value)
    if not isinstance(value, np.ndarray):
        return value
    made = torch.from_numpy(np.array(value))
    if made.dtype == torch.int32:
        return made.long()
    return made.to(dtype) if made.is_floating_point() else made


def built(value):
    if isinstance(value, Part):
        return getattr(nn, value.name)(*value.args, **value.kwargs)
    return value


def theirs(draw: Draw, dtype=torch.float32, given=torch.float32):
    """torch's outputs, gradients and state by name, in float64, and the weights it had.

    Computed in `dtype`, with weights and cotangents that were rounded to `given`.
    """
    inputs = [tensor(a, dtype) for a in draw.on]
    call = {k: tensor(v, dtype) for k, v in draw.call.items()}
    points = {}
    for i, x in enumerate(inputs):
        if isinstance(x, torch.Tensor) and x.is_floating_point() and i not in draw.still:
            points[f"input {i}"] = inputs[i] = x.requires_grad_()
    layer, weights = None, {}
    if draw.is_function:
        run = getattr(torch.nn.functional, draw.name)
    else:
        layer, weights = _torch_layer(draw, dtype, given)
        points |= dict(layer.named_parameters())
        run = layer
    if draw.lengths:
        first = draw.kwargs.get("batch_first", False)
        inputs[0] = torch_rnn.pack_padded_sequence(inputs[0], draw.lengths, first, False)
    # Copies, because inplace=True does change them in torch.
    inputs = [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]
    outputs = leaves(run(*inputs, **call))
    gradients = _torch_gradients(outputs, points, given)
    state = {} if layer is None else dict(layer.named_buffers())
    return _wide(outputs), gradients, {k: _wide([v])[0] for k, v in state.items()}, weights


def _torch_layer(draw, dtype, given):
    args = [tensor(a, dtype) for a in draw.args]
    kwargs = {k: tensor(v, dtype) for k, v in draw.kwargs.items()}
    layer = getattr(torch.nn, draw.name)(*args, **kwargs)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in layer.parameters():
            # As large as keeps a deep layer's signals: what grows also grows its rounding.
            scale = p.shape[-1] ** -0.5 if p.ndim > 1 and p.shape[-1] else 1.0
            p.copy_(torch.from_numpy((scale * rng.normal(size=p.shape)).astype(np.float32)))
        for name, b in layer.named_buffers():
            if "running" in name:
                b.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, b.shape).astype(np.float32)))
    layer = layer.to(given).to(dtype).train(draw.train)
    weights = {k: v.detach().clone() for k, v in layer.state_dict().items()}
    return layer, {
        k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in weights.items()
    }


def leaves(outputs):
    if isinstance(outputs, torch_rnn.PackedSequence):
        return [torch_rnn.pad_packed_sequence(outputs)[0]]
    if isinstance(outputs, nn.utils.rnn.PackedSequence):
        return [nn.utils.rnn.pad_packed_sequence(outputs)[0]]
    if isinstance(outputs, tuple | list):
        return [leaf for each in outputs for leaf in leaves(each)]
    return [] if outputs is None else [outputs]


def cotangent(i, shape):
    return np.random.default_rng([7, i]).normal(size=tuple(shape)).astype(np.float32)


def _torch_gradients(outputs, points, given):
    moving = [(i, o) for i, o in enumerate(outputs) if o.is_floating_point() and o.requires_grad]
    if not moving or not points:
        return {name: np.zeros(tuple(p.shape)) for name, p in points.items()}
    along = [torch.from_numpy(cotangent(i, o.shape)).to(given).to(o.dtype) for i, o in moving]
    found = torch.autograd.grad(
        [o for _, o in moving], [*points.values()], along, allow_unused=True
    )
    return {
        name: np.zeros(tuple(p.shape)) if g is None else g.double().numpy()
        for (name, p), g in zip(points.items(), found)
    }


def _wide(arrays):
    return [
        (a.detach().double() if a.is_floating_point() else a.detach()).numpy()
        if isinstance(a, torch.Tensor)
        else np.asarray(a)
        for a in arrays
    ]


def ours(draw: Draw, weights: dict, dtype=jnp.float32):
    """fx's outputs, gradients and state by name."""

    def array(value):
        if isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
            return tuple(array(v) for v in value)
        if not isinstance(value, np.ndarray):
            return value
        return jnp.asarray(value, dtype if value.dtype == np.float32 else None)

    inputs = [array(a) for a in draw.on]
    call = {k: array(v) for k, v in draw.call.items()}
    moving = {
        i: x for i, x in enumerate(inputs)
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
        and i not in draw.still
    }  # fmt: skip
    model, params, state = None, {}, {}
    if not draw.is_function:
        kwargs = {k: built(v) for k, v in draw.kwargs.items()}
        model = getattr(nn, draw.name)(*[built(a) for a in draw.args], **kwargs)
        params, state = fx.load_state_dict(model, weights)
        params = jax.tree.map(lambda a: a.astype(dtype), params)

    def run(params, moving):
        given = [moving.get(i, x) for i, x in enumerate(inputs)]
        if draw.lengths:
            first = draw.kwargs.get("batch_first", False)
            given[0] = nn.utils.rnn.pack_padded_sequence(given[0], draw.lengths, first, False)
        if model is None:
            return leaves(getattr(F, draw.name)(*given, **call)), {}
        outputs, new = model.apply(params, state, *given, train=draw.train, **call)
        return leaves(outputs), new

    @jax.jit
    def everything(params, moving):
        outputs, pull, new = jax.vjp(run, params, moving, has_aux=True)
        along = [
            jnp.asarray(cotangent(i, o.shape), o.dtype)
            if jnp.issubdtype(o.dtype, jnp.floating)
            else np.zeros(o.shape, jax.dtypes.float0)
            for i, o in enumerate(outputs)
        ]
        return outputs, pull(along), new

    outputs, (of_params, of_inputs), new = everything(params, moving)
    gradients = {f"input {i}": g for i, g in of_inputs.items()}
    named = {}
    if model is not None:
        gradients |= fx.state_dict(model, of_params)
        named = fx.state_dict(model, params, new)
    return outputs, gradients, named


def departures(draw: Draw, share: float = 1e-6, dtype: torch.dtype = torch.float32) -> list[str]:
    """Where fx is not within the bound; empty where all is well.

    Args:
        draw: what to run.
        share: of an array's largest element, that is allowed besides twice torch's own error.
        dtype: of inputs and parameters; torch.float32 or torch.bfloat16.
    """
    try:
        low = theirs(draw, dtype, dtype)
    except Exception as error:
        return _must_raise(draw, error)
    wide = theirs(draw, torch.float64, dtype)
    outputs, gradients, state = ours(draw, low[3], JAX[dtype])
    found = []
    if len(outputs) != len(low[0]):
        return [f"{len(outputs)} outputs against torch's {len(low[0])}"]
    for i, (a, b, c) in enumerate(zip(outputs, low[0], wide[0])):
        found += beyond(f"output {i}", a, b, c, share)
    for name, exact in wide[1].items():
        given = (gradients[name], low[1][name], exact)
        found += beyond(f"gradient to {name}", *given, share, least=0.1)
    for name, exact in wide[2].items():
        if name in state:
            found += beyond(f"state {name}", state[name], low[2][name], exact, share)
    return found


def errors(draw: Draw, dtype: torch.dtype) -> tuple[list[float], list[float]]:
    """The largest error of every output and gradient by torch in float64: fx's, and torch's own."""
    low, wide = theirs(draw, dtype, dtype), theirs(draw, torch.float64, dtype)
    outputs, gradients, _ = ours(draw, low[3], JAX[dtype])
    mine = [*outputs, *(gradients[name] for name in wide[1])]
    exact, own = ([*each[0], *each[1].values()] for each in (wide, low))

    def of(found):
        return [
            float(np.abs(np.asarray(a, np.float64) - b).max())
            for a, b in zip(found, exact)
            if b.size
        ]

    return of(mine), of(own)


# What torch finds by looking at values, which a compiled function cannot raise for.
BY_VALUE = ("invalid max index",)


def _must_raise(draw, error):
    if any(said in str(error) for said in BY_VALUE):
        return []
    weights = {}
    if not draw.is_function:
        try:
            weights = _torch_layer(draw, torch.float32, torch.float32)[1]
        except Exception:
            weights = None
    try:
        if weights is None:  # torch's constructor raises: so may ours, or its first call
            model = getattr(nn, draw.name)(
                *[built(a) for a in draw.args], **{k: built(v) for k, v in draw.kwargs.items()}
            )
            variables = model.init(jax.random.key(0))
            model.apply(*variables, *draw.on, train=draw.train, **draw.call)
        else:
            ours(draw, weights)
    except RAISED:
        return []
    except Exception as other:
        return [f"torch raises {error!s:.150}; fx {type(other).__name__}: {other!s:.150}"]
    return [f"torch raises {type(error).__name__}: {error!s:.200}; fx does not"]


def beyond(what, ours, low, exact, share=1e-6, least=0.0) -> list[str]:
    """What is wrong with an array; empty where it is within the bound.

    The scale of a gradient is 0.1 at least: cotangents are about 1, so that a smaller one is what
    is left of terms that cancelled, to the rounding of which it cannot be better.
    """
    ours = np.asarray(ours)
    if ours.shape != low.shape:
        return [f"{what}: shape {ours.shape} against torch's {low.shape}"]
    if np.issubdtype(low.dtype, np.floating) != jnp.issubdtype(ours.dtype, jnp.floating):
        return [f"{what}: {ours.dtype} against torch's {low.dtype}"]
    if not low.size:
        return []
    ours, low, exact = (np.asarray(a, np.float64) for a in (ours, low, exact))
    for special in (np.isnan, np.isposinf, np.isneginf):
        if (special(ours) != special(low)).any():
            return [
                f"{what}: {special.__name__} {special(ours).sum()} against {special(low).sum()}"
            ]
    fine = np.isfinite(ours) & np.isfinite(low) & np.isfinite(exact)
    if not fine.any():
        return []
    error, scale = np.abs(ours - exact)[fine].max(), max(least, np.abs(exact)[fine].max())
    allowed = 2 * np.abs(low - exact)[fine].max() + share * scale
    return [] if error <= allowed else [f"{what}: error {error:.3g}, allowed {allowed:.3g}"]
