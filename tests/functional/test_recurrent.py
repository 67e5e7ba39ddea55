"""What the layers' parity tests do not see: lengths, masks between layers, the scan's form."""

import functools
from collections import Counter

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from fx.functional import recurrent
from tests.functional.check import assert_close, normal

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def weights(mode, inputs, hidden, seed=0):
    gates = GATES[mode] * hidden
    shapes = (gates, inputs), (gates, hidden), (gates,), (gates,)
    arrays = [jnp.asarray(normal(*s, seed=seed + i, scale=0.5)) for i, s in enumerate(shapes)]
    return recurrent.Weights(*arrays)


def zeros(mode, count, hidden, layers=1):
    state = (jnp.zeros((count, hidden)),) * (2 if mode == "LSTM" else 1)
    return [state] * layers


def stack(mode, directions=1, depth=1, inputs=3, hidden=4):
    sizes = [inputs, *[directions * hidden] * (depth - 1)]
    return [
        [weights(mode, size, hidden, 10 * layer + d) for d in range(directions)]
        for layer, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("mode", GATES)
def test_cells_in_turn_are_a_layer(mode):
    w, x = stack(mode), jnp.asarray(normal(5, 2, 3))
    output, (final,) = jax.jit(recurrent.layers, static_argnums=0)(mode, x, zeros(mode, 2, 4), w)
    (state,) = zeros(mode, 2, 4)
    for now, y in zip(x, output):
        state = recurrent.cell(mode, now, state, w[0][0])
        assert_close(y, state[0])
    for ours, expected in zip(final, state, strict=True):
        assert_close(ours, expected)


@pytest.mark.parametrize("mode", ["GRU", pytest.param("LSTM", marks=pytest.mark.full)])
def test_what_lies_behind_the_end_has_no_influence(mode):
    """Each sequence of a padded batch as if alone; the padding's gradient is 0."""
    w, x, lengths = stack(mode, 2, 2), jnp.asarray(normal(5, 3, 3)), np.array([3, 5, 1])

    @jax.jit
    def run(x, lengths):
        output, finals = recurrent.layers(
            mode, x, zeros(mode, x.shape[1], 4, 4), w, lengths=lengths
        )
        return output, [final[0] for final in finals]

    garbage = jnp.where(jnp.arange(5)[:, None, None] < lengths[:, None], x, 1e30)
    output, finals = run(garbage, lengths)
    for i, length in enumerate(lengths):
        alone, alone_finals = run(x[:length, i : i + 1], jnp.array([length]))
        assert_close(output[:length, i : i + 1], alone)
        assert not output[length:, i].any()
        for ours, expected in zip(finals, alone_finals, strict=True):
            assert_close(ours[i : i + 1], expected)
    gradient = jax.grad(lambda x: run(x, lengths)[0].sum())(x)
    inside = jnp.arange(5)[:, None] < lengths
    assert not gradient[~inside].any() and gradient[inside].all()


def test_dropout_stands_between_layers_with_a_mask_for_each_step():
    """The second layer adds up the first's output, which is 1 in every step."""
    ones = jnp.ones((1, 1))
    w = [
        [recurrent.Weights(ones, 0 * ones)],
        [recurrent.Weights(ones, ones)],
        [recurrent.Weights(ones, 0 * ones)],
    ]
    states, x = [(jnp.zeros((50, 1)),)] * 3, jnp.ones((40, 50, 1))

    @functools.partial(jax.jit, static_argnums=1)
    def run(key, depth):
        return recurrent.layers("RNN_RELU", x, states[:depth], w[:depth], 0.25, key=key)[0]

    assert (run(jax.random.key(0), 1) == 1).all()  # not after the last layer
    sums = run(jax.random.key(0), 2)
    steps = jnp.diff(sums[..., 0], axis=0)
    kept = jnp.isclose(steps, 1 / 0.75, atol=1e-4)
    assert (kept | jnp.isclose(steps, 0, atol=1e-4)).all()
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / kept.size)
    assert 0 < kept[0].mean() < 1 and (kept[0] != kept[1]).any()
    assert (run(jax.random.key(0), 2) == sums).all()
    assert (run(jax.random.key(1), 2) != sums).any()
    third = run(jax.random.key(0), 3) > 0  # by another mask than the second
    assert abs(third[5:].mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / third[5:].size)
    assert (third[1:, :, 0] != kept).any()


def operations(jaxpr, inside=False):
    """The names of all operations, and whether each is part of a scan."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        yield name, inside
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from operations(inner, inside or name == "scan")


@pytest.mark.parametrize(("mode", "directions"), [("LSTM", 1), ("GRU", 2)])
def test_the_input_is_projected_before_the_scan(mode, directions):
    """One scan a layer; in it one product a direction, which is the state's."""
    w, x = stack(mode, directions, 2), jnp.asarray(normal(5, 2, 3))
    program = jax.make_jaxpr(
        lambda x: recurrent.layers(mode, x, zeros(mode, 2, 4, 2 * directions), w)
    )(x)
    count = Counter(operations(program.jaxpr))
    assert count["scan", False] == 2
    assert count["dot_general", False] == count["dot_general", True] == 2 * directions


@pytest.mark.parametrize(("mode", "directions"), [("LSTM", 1), ("GRU", 2)])
def test_the_gradient_to_weights_is_taken_after_the_scan(mode, directions):
    """Forward and back, a step has one product with the state's weight, and sums no gradient."""
    (w,), x = stack(mode, directions), jnp.asarray(normal(5, 2, 3))

    def loss(w):
        return recurrent.layers(mode, x, zeros(mode, 2, 4, directions), [w])[0].sum()

    count = Counter(operations(jax.make_jaxpr(jax.grad(loss))(w).jaxpr))
    assert count["scan", False] == 2
    assert count["dot_general", True] == 2 * directions


@pytest.mark.parametrize("mode", GATES)
def test_derivatives_are_those_of_cells_in_turn(mode):
    """Gradient and second derivative, to inputs, states and weights, with lengths."""
    (w,), x = stack(mode), jnp.asarray(normal(4, 2, 3))
    (state,), lengths = zeros(mode, 2, 4), jnp.array([4, 2])

    def together(x, state, w):
        return recurrent.layers(mode, x, [state], [w], lengths=lengths)[0]

    def in_turn(x, state, w):
        outputs = []
        for t in range(4):
            inside = (t < lengths)[:, None]
            new = recurrent.cell(mode, x[t], state, w[0])
            state = tuple(jnp.where(inside, b, a) for a, b in zip(state, new))
            outputs.append(jnp.where(inside, state[0], 0))
        return jnp.stack(outputs)

    def derivatives(f):
        def loss(args):
            return jnp.sum(jnp.sin(3 * f(*args)))

        def slope(args):
            return sum(jnp.sum(jnp.cos(g)) for g in jax.tree.leaves(jax.grad(loss)(args)))

        return jax.jit(lambda args: (jax.grad(loss)(args), jax.grad(slope)(args)))

    args = x, state, w
    ours, theirs = derivatives(together)(args), derivatives(in_turn)(args)
    jax.tree.map(assert_close, ours, theirs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_states_are_summed_in_float32(dtype):
    """In bfloat16 a sum of 0.001 stops growing at 0.5; here 2,000 of them give 2."""
    one = jnp.ones((1, 1), dtype)
    w = recurrent.Weights(0 * one, 0 * one, jnp.array([100, 100, 0.001, 100], dtype))
    x = jnp.zeros((2000, 1, 1), dtype)
    states = [(jnp.zeros((1, 1), dtype),) * 2]
    output, [(h, c)] = recurrent.layers("LSTM", x, states, [[w]])
    assert output.dtype == h.dtype == c.dtype == jnp.dtype(dtype)
    assert abs(float(c.item()) - 2) < 0.02
