"""Recurrent networks: one step of each kind, and the scan over time.

torch.nn.functional has no names for these; `fx.nn`'s recurrent layers and cells are made of them.
The input's part of every gate is one matrix product over all time steps, before the scan; inside of
it stands only what depends on the state. Sums and states are float32 at least.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fx.functional.dropout import dropout as drop
from fx.functional.dtypes import accumulate

State = tuple[jax.Array, ...]  # (h,), or (h, c) of an LSTM


class Weights(NamedTuple):
    """The weights of one layer in one direction; G = gates * hidden.

    `ih` [G, in], `hh` [G, out], `bias_ih` and `bias_hh` [G] or None, and `hr` [out, hidden], the
    projection of an LSTM, or None.
    """

    ih: jax.Array
    hh: jax.Array
    bias_ih: jax.Array | None = None
    bias_hh: jax.Array | None = None
    hr: jax.Array | None = None


def cell(mode: str, input: jax.Array, state: State, weights: Weights) -> State:
    """One step of a recurrent network.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input: [N, in].
        state: ``(h,)``, or ``(h, c)`` of an LSTM: [N, out] and [N, hidden].
        weights: of the input's dtype.

    Returns:
        The new state, in the input's dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> w = Weights(jnp.ones((4, 3)), jnp.ones((4, 4)))
        >>> (h,) = cell("RNN_TANH", jnp.ones((2, 3)), (jnp.zeros((2, 4)),), w)
        >>> h.shape
        (2, 4)
    """
    gates = _input_part(mode, input, weights)
    state = _widened(state)
    state = STEPS[mode](state, gates, _dot(state[0], weights.hh), weights.hr)
    return tuple(value.astype(input.dtype) for value in state)


def layers(
    mode: str,
    input: jax.Array,
    states: Sequence[State],
    weights: Sequence[Sequence[Weights]],
    dropout: float = 0.0,
    lengths: jax.Array | None = None,
    key: jax.Array | None = None,
) -> tuple[jax.Array, list[State]]:
    """Recurrent layers on top of each other, each in one or two directions.

    Args:
        mode: see `cell`.
        input: [L, N, in], L of 1 or more.
        states: where each layer and direction begins, ordered as torch orders them: all directions
            of the first layer, then of the second.
        weights: for each layer, those of each direction.
        dropout: the probability that an element between two layers is dropped.
        lengths: [N], integers: how many steps of each sequence count; all unless given. The state
            does not change in a step that does not count, and its output is 0.
        key: a PRNG key; needed with 0 < dropout < 1 and more than one layer.

    Returns:
        [L, N, directions * out] and the final states, ordered as `states`.
    """
    inside = None
    if lengths is not None:
        steps = jnp.arange(input.shape[0], dtype=lengths.dtype)
        inside = (steps[:, None] < lengths)[..., None]  # [L, N, 1]
    finals, left = [], list(states)
    for depth, directions in enumerate(weights):
        if depth and dropout:
            # One mask for the whole sequence, drawn here: a key in the scan would repeat it.
            own = None if key is None else jax.random.fold_in(key, depth)
            input = drop(input, dropout, key=own)
        first, left = left[: len(directions)], left[len(directions) :]
        input, final = _layer(mode, input, first, directions, inside)
        finals += final
    return input, finals


def _layer(mode, input, states, weights, inside):
    """One layer: all directions step together in one scan, so that it is L steps long, not 2 L."""
    dtype = input.dtype
    turns = [lambda x: x, lambda x: jnp.flip(x, 0)][: len(weights)]  # each its own inverse
    gates = [turn(_input_part(mode, input, w)) for turn, w in zip(turns, weights)]
    masks = None if inside is None else [turn(inside) for turn in turns]
    states = [_widened(state) for state in states]
    hh, hr = [w.hh for w in weights], [w.hr for w in weights]
    finals, outputs = _recur(gates, states, hh, hr, masks, mode)
    output = jnp.concatenate([turn(y.astype(dtype)) for turn, y in zip(turns, outputs)], axis=-1)
    if inside is not None:
        output = jnp.where(inside, output, 0)
    return output, [tuple(value.astype(dtype) for value in final) for final in finals]


@functools.partial(jax.custom_jvp, nondiff_argnums=(5,))
def _recur(gates, states, hh, hr, masks, mode):
    """The scan over time, of lists with one entry for each direction.

    The gradient to hh is one product over all time steps, after the scan, and not a sum that grows
    with each step: what a change of hh adds to the gates depends on known states alone.

    Args:
        gates: [L, N, P], what does not depend on the state.
        states: where to begin.
        hh: [G, out], the weight of the state.
        hr: [out, hidden] or None, the projections.
        masks: [L, N, 1], the steps that count, or None for all.
        mode: see `cell`.

    Returns:
        The final states, and the first part of all, [L, N, out] each.
    """
    return _scan(gates, states, hh, hr, masks, mode)


@_recur.defjvp
def _recur_jvp(mode, primals, tangents):
    gates, states, hh, hr, masks = primals
    dgates, dstates, dhh, dhr, _ = tangents
    scan = functools.partial(_scan, hh=hh, masks=masks, mode=mode)
    (finals, outputs), linear = jax.linearize(
        lambda gates, states, hr: scan(gates, states, hr=hr), gates, states, hr
    )
    moved = []
    for state, output, dgate, dw in zip(states, outputs, dgates, dhh):
        before = jnp.concatenate([state[0][None], output[:-1]])
        moved.append(dgate + _placed(mode, _dot(before, dw), from_state=True))
    return (finals, outputs), linear(moved, dstates, dhr)


def _scan(gates, states, hh, hr, masks, mode):
    step = STEPS[mode]
    # Transposed once, not in each step; XLA would move the transpose into the loop.
    turned = jax.lax.optimization_barrier([w.T for w in hh])

    def body(states, now):
        gates, masks = now
        moved = []
        for i, state in enumerate(states):
            new = step(state, gates[i], _state_part(state[0], hh[i], turned[i]), hr[i])
            if masks is not None:
                new = tuple(jnp.where(masks[i], b, a) for a, b in zip(state, new))
            moved.append(new)
        return moved, [state[0] for state in moved]

    return jax.lax.scan(body, states, (gates, masks))


@jax.custom_jvp
def _state_part(h, weight, turned):
    """The product h @ turned; its gradient reads weight, which is turned the right way for that."""
    return _dot(h, turned, axis=0)


@functools.partial(_state_part.defjvp, symbolic_zeros=True)
def _state_part_jvp(primals, tangents):
    # In a first derivative the weight does not move here (see `_recur`), in a second one it does.
    (h, weight, _), (dh, dweight, _) = primals, tangents
    out = _state_part(*primals)
    pairs = [(dh, weight), (h, dweight)]
    zero = jax.custom_derivatives.SymbolicZero
    parts = [_dot(a, b) for a, b in pairs if not isinstance(a, zero) and not isinstance(b, zero)]
    return out, functools.reduce(jnp.add, parts) if parts else jnp.zeros_like(out)


# A step takes the state, what the gates have from elsewhere, the product of h and the state's
# weight, and the projection; it returns the new state.


def _tanh(state: State, gates: jax.Array, part: jax.Array, hr: jax.Array | None) -> State:
    return (jnp.tanh(gates + part),)


def _relu(state: State, gates: jax.Array, part: jax.Array, hr: jax.Array | None) -> State:
    return (jax.nn.relu(gates + part),)


def _lstm(state: State, gates: jax.Array, part: jax.Array, hr: jax.Array | None) -> State:
    i, f, g, o = jnp.split(gates + part, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h if hr is None else _dot(h, hr)), c


def _gru(state: State, gates: jax.Array, part: jax.Array, hr: jax.Array | None) -> State:
    r, z, n, m = jnp.split(gates, 4, axis=-1)
    by_r, by_z, by_n = jnp.split(part, 3, axis=-1)
    r, z = jax.nn.sigmoid(r + by_r), jax.nn.sigmoid(z + by_z)
    n = jnp.tanh(n + r * (m + by_n))
    return (n + z * (state[0] - n),)


STEPS: dict[str, Callable[[State, jax.Array, jax.Array, jax.Array | None], State]] = {
    "RNN_TANH": _tanh,
    "RNN_RELU": _relu,
    "LSTM": _lstm,
    "GRU": _gru,
}


def _input_part(mode, input, weights):
    """What the gates do not have from the state, [..., P]; P is G, and 4 * hidden of a GRU."""
    gates = _placed(mode, _dot(input, weights.ih), from_state=False)
    for bias, from_state in ((weights.bias_ih, False), (weights.bias_hh, True)):
        if bias is not None:
            gates += _placed(mode, bias.astype(gates.dtype), from_state)
    return gates


def _placed(mode, part, from_state):
    """[..., G] as [..., P]: the last gate of a GRU keeps apart what it has from input and state."""
    if mode != "GRU":
        return part
    r, z, n = jnp.split(part, 3, axis=-1)
    nothing = jnp.zeros_like(n)
    return jnp.concatenate([r, z, nothing, n] if from_state else [r, z, n, nothing], axis=-1)


def _dot(x, weight, axis=1):
    """The product x @ weight.T in the weight's dtype, summed in float32 at least."""
    wide = jnp.float32 if weight.dtype.itemsize < 4 else weight.dtype
    axes = (((x.ndim - 1,), (axis,)), ((), ()))
    return jax.lax.dot_general(x.astype(weight.dtype), weight, axes, preferred_element_type=wide)


def _widened(state):
    return tuple(accumulate(value, "recurrent") for value in state)
