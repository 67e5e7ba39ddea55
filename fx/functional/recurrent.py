"""Recurrent networks: one step of each kind, and the scan over time.

torch.nn.functional has no names for these; `fx.nn`'s recurrent layers and cells are made of them.
The input's part of every gate is one matrix product over all time steps, before the scan; inside of
it stands only what depends on the state. Sums and states are float32 at least.
"""

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
    state = STEPS[mode](_widened(state), _input_part(input, weights), weights)
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
    dtype, step = input.dtype, STEPS[mode]
    turns = [lambda x: x, lambda x: jnp.flip(x, 0)][: len(weights)]  # each its own inverse
    gates = [turn(_input_part(input, w)) for turn, w in zip(turns, weights)]
    masks = [None if inside is None else turn(inside) for turn in turns]

    def body(states, now):
        moved = []
        for state, w, gate, mask in zip(states, weights, *now):
            new = step(state, gate, w)
            if mask is not None:
                new = tuple(jnp.where(mask, b, a) for a, b in zip(state, new))
            moved.append(new)
        return moved, [state[0].astype(dtype) for state in moved]

    finals, outputs = jax.lax.scan(body, [_widened(s) for s in states], (gates, masks))
    output = jnp.concatenate([turn(y) for turn, y in zip(turns, outputs)], axis=-1)
    if inside is not None:
        output = jnp.where(inside, output, 0)
    return output, [tuple(value.astype(dtype) for value in final) for final in finals]


def _tanh(state: State, gates: jax.Array, weights: Weights) -> State:
    return (jnp.tanh(gates + _state_part(state, weights)),)


def _relu(state: State, gates: jax.Array, weights: Weights) -> State:
    return (jax.nn.relu(gates + _state_part(state, weights)),)


def _lstm(state: State, gates: jax.Array, weights: Weights) -> State:
    i, f, g, o = jnp.split(gates + _state_part(state, weights), 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h if weights.hr is None else _dot(h, weights.hr)), c


def _gru(state: State, gates: jax.Array, weights: Weights) -> State:
    r, z, n = jnp.split(gates, 3, axis=-1)
    hr, hz, hn = jnp.split(_state_part(state, weights), 3, axis=-1)
    r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
    n = jnp.tanh(n + r * hn)
    return (n + z * (state[0] - n),)


STEPS: dict[str, Callable[[State, jax.Array, Weights], State]] = {
    "RNN_TANH": _tanh,
    "RNN_RELU": _relu,
    "LSTM": _lstm,
    "GRU": _gru,
}


def _input_part(input, weights):
    gates = _dot(input, weights.ih)  # [..., G]
    return gates if weights.bias_ih is None else gates + weights.bias_ih.astype(gates.dtype)


def _state_part(state, weights):
    gates = _dot(state[0], weights.hh)
    return gates if weights.bias_hh is None else gates + weights.bias_hh.astype(gates.dtype)


def _dot(x, weight):
    """The product x @ weight.T in the weight's dtype, summed in float32 at least."""
    wide = jnp.float32 if weight.dtype.itemsize < 4 else weight.dtype
    axes = (((x.ndim - 1,), (1,)), ((), ()))
    return jax.lax.dot_general(x.astype(weight.dtype), weight, axes, preferred_element_type=wide)


def _widened(state):
    return tuple(accumulate(value, "recurrent") for value in state)
