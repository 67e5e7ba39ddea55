"""What the table of layers does not see: pairs of states, packed sequences, dropout, errors."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.utils import rnn as torch_rnn

import fx
from fx import nn
from fx.nn.utils import rnn
from tests.functional.check import assert_close, normal

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
KEY = jax.random.key(0)
LENGTHS = [3, 5, 1]
FULL = pytest.mark.full


def pair(name, *args, **kwargs):
    """torch's layer and ours, with its weights."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    weights = {n: t.numpy() for n, t in theirs.state_dict().items()}
    return theirs, ours, *fx.load_state_dict(ours, weights)


def flat(outputs):
    return jax.tree.leaves(outputs)


def gradients(outputs, cotangents, points):
    weights = [torch.from_numpy(np.array(c)) for c in cotangents]
    return torch.autograd.grad(outputs, points, weights)


@pytest.mark.parametrize("shape", [(5, 2, 3), pytest.param((5, 3), marks=FULL)])
@pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
def test_pairs_of_states(name, shape):
    cell = name == "LSTMCell"
    theirs, ours, params, state = pair(name, 3, 4, **({} if cell else {"proj_size": 2}))
    shape = shape[1:] if cell else shape
    batch = shape[:-1] if cell else (1, *shape[1:-1])
    arrays = normal(*shape), normal(*batch, 4 if cell else 2, seed=1), normal(*batch, 4, seed=2)
    leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
    expected = flat(theirs(leaves[0], tuple(leaves[1:])))

    def run(params, x, h, c):
        return flat(ours.apply(params, state, x, (h, c))[0])

    outputs, pull = jax.vjp(jax.jit(run), params, *arrays)
    cotangents = [normal(*o.shape, seed=3) for o in outputs]
    found = jax.tree.leaves(pull([jnp.asarray(c) for c in cotangents])[1:])
    for value, theirs_ in zip(outputs, expected, strict=True):
        assert_close(value, theirs_)
    for value, theirs_ in zip(found, gradients(expected, cotangents, leaves), strict=True):
        assert_close(value, theirs_)
    listed = flat(ours.apply(params, state, arrays[0], list(arrays[1:]))[0])
    for value, same in zip(listed, outputs, strict=True):
        assert_close(value, same)


PACKED = [
    ("GRU", {"bidirectional": True, "bias": False}),
    pytest.param("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}, marks=FULL),
    pytest.param("LSTM", {"batch_first": True, "bidirectional": True}, marks=FULL),
    pytest.param("RNN", {"num_layers": 2, "nonlinearity": "relu"}, marks=FULL),
    pytest.param("GRU", {"num_layers": 2, "bidirectional": True}, marks=FULL),
]


@pytest.mark.parametrize("starts", [True, pytest.param(False, marks=FULL)])
@pytest.mark.parametrize(("name", "kwargs"), PACKED)
def test_packed_sequences(name, kwargs, starts):
    """Lengths that are known, and lengths that are an argument, give what torch gives."""
    theirs, ours, params, state = pair(name, 3, 4, **kwargs)
    count = kwargs.get("num_layers", 1) * (1 + kwargs.get("bidirectional", False))
    sizes = [kwargs.get("proj_size", 4), 4][: 2 if name == "LSTM" else 1]
    starting = [normal(count, 3, size, seed=9) for size in sizes] if starts else None
    x, first = normal(3, 6, 3), True  # longer than the longest sequence

    def hx(arrays):
        return None if arrays is None else tuple(arrays) if name == "LSTM" else arrays[0]

    leaf = torch.from_numpy(x).requires_grad_()
    packed = torch_rnn.pack_padded_sequence(leaf, LENGTHS, first, False)
    begin = None if starting is None else [torch.from_numpy(a) for a in starting]
    output, final = theirs(packed, hx(begin))
    padded, lengths = torch_rnn.pad_packed_sequence(output, first, 7.0, total_length=8)
    expected = [padded, *flat(final)]

    def run(x, lengths):
        packed = rnn.pack_padded_sequence(x, lengths, first, False)
        (output, final), _ = ours.apply(params, state, packed, hx(starting))
        padded, again = rnn.pad_packed_sequence(output, first, 7.0, total_length=8)
        return [padded, *flat(final)], again

    compiled = jax.jit(lambda x, lengths: jax.vjp(run, x, lengths, has_aux=True))
    outputs, pull, again = compiled(x, jnp.array(LENGTHS))
    cotangents = [normal(*o.shape, seed=3) for o in outputs]
    found = pull([jnp.asarray(c) for c in cotangents])[0]
    for value, theirs_ in zip(outputs, expected, strict=True):
        assert_close(value, theirs_)
    assert_close(found, gradients(expected, cotangents, leaf)[0])
    assert again.tolist() == lengths.tolist()
    known, _ = jax.jit(lambda x: run(x, LENGTHS))(x)
    for value, theirs_ in zip(known, expected, strict=True):
        assert_close(value, theirs_)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_packed_batch_has_torchs_fields(batch_first):
    x = normal(3, 6, 2) if batch_first else normal(6, 3, 2)
    ours = rnn.pack_padded_sequence(jnp.asarray(x), LENGTHS, batch_first, False)
    theirs = torch_rnn.pack_padded_sequence(torch.from_numpy(x), LENGTHS, batch_first, False)
    for name in ("data", "batch_sizes", "sorted_indices", "unsorted_indices"):
        assert_close(getattr(ours, name), getattr(theirs, name), what=name)
    assert ours.padded.shape == (5, 3, 2)  # the longest length: the list is known
    for args in [(), (not batch_first, 3.0)]:
        padded, lengths = rnn.pad_packed_sequence(ours, *args)
        expected, expected_lengths = torch_rnn.pad_packed_sequence(theirs, *args)
        assert_close(padded, expected)
        assert lengths.tolist() == expected_lengths.tolist()
    one, other = rnn.unpack_sequence(ours), torch_rnn.unpack_sequence(theirs)
    for a, b in zip(one, other, strict=True):
        assert_close(a, b)


def test_padding_and_unpadding():
    arrays = [normal(n, 2) for n in LENGTHS]
    tensors = [torch.from_numpy(a) for a in arrays]
    for args in [(), (True, 2.5), (False, -1.0, "left")]:
        assert_close(rnn.pad_sequence(arrays, *args), torch_rnn.pad_sequence(tensors, *args))
    whole = rnn.pad_sequence([np.array([1, 2]), np.array([3])], padding_value=-1)
    assert whole.tolist() == [[1, 3], [2, -1]] and whole.dtype == jnp.int32
    ours, theirs = rnn.pack_sequence(arrays, False), torch_rnn.pack_sequence(tensors, False)
    assert_close(ours.data, theirs.data)
    for a, b in zip(rnn.unpack_sequence(ours), arrays, strict=True):
        assert_close(a, b)
    for a, b in zip(rnn.unpad_sequence(rnn.pad_sequence(arrays), LENGTHS), arrays, strict=True):
        assert_close(a, b)


def test_one_program_serves_all_lengths():
    model, x = nn.GRU(2, 3, bidirectional=True), jnp.asarray(normal(5, 3, 2))
    params, state = model.init(KEY)

    @jax.jit
    @chex.assert_max_traces(1)
    def run(x, lengths):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        (output, h), _ = model.apply(params, state, packed)
        return output, h

    many = jnp.array([[5, 4, 1], [1, 2, 3]])
    loop = [run(x, lengths) for lengths in many]
    assert loop[0][0].padded.shape == (5, 3, 6) and loop[1][0].lengths.tolist() == [1, 2, 3]
    chex.clear_trace_counter()
    mapped = jax.vmap(run, (None, 0))(x, many)
    for i, one in enumerate(loop):
        chex.assert_trees_all_close(jax.tree.map(lambda a: a[i], mapped), one, rtol=1e-5)  # noqa: B023
    tracers = jax.jit(lambda x, lengths: rnn.pack_padded_sequence(x, lengths).padded)(x, [5, 4, 1])
    assert_close(tracers, rnn.pack_padded_sequence(x, [5, 4, 1]).padded)


def test_a_model_as_it_is_written_for_torch():
    def build(nn):
        class Tagger(nn.Module):
            def __init__(self, words, tags):
                super().__init__()
                self.embedding = nn.Embedding(words, 4, padding_idx=0)
                self.lstm = nn.LSTM(4, 5, 2, batch_first=True, dropout=0.5, bidirectional=True)
                self.fc = nn.Linear(10, tags)

            def forward(self, x, lengths):
                self.lstm.flatten_parameters()
                packed = nn.utils.rnn.pack_padded_sequence(
                    self.embedding(x), lengths, batch_first=True, enforce_sorted=False
                )
                packed, (h, c) = self.lstm(packed)
                output, lengths = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
                return self.fc(output), h[-1] + c[0], self.fc(packed.data)

        return Tagger(7, 3)

    theirs, ours = build(torch.nn).eval(), build(nn)
    params, state = fx.load_state_dict(ours, {n: t.numpy() for n, t in theirs.state_dict().items()})
    x = np.random.default_rng(0).integers(7, size=(3, 6))
    outputs, _ = ours.apply(params, state, x.astype(np.int32), LENGTHS)
    for value, expected in zip(outputs, theirs(torch.from_numpy(x), LENGTHS), strict=True):
        assert_close(value, expected)


def test_dropout():
    model, x = nn.GRU(2, 3, 2, dropout=0.5), jnp.asarray(normal(4, 2, 2))
    params, state = model.init(KEY)
    evaluated, _ = model.apply(params, state, x)
    one, two, again = (
        model.apply(params, state, x, train=True, key=jax.random.key(seed))[0] for seed in (0, 1, 0)
    )
    chex.assert_trees_all_equal(one, again)
    assert (one[0] != two[0]).any() and (one[0] != evaluated[0]).any()
    assert_close(one[1][0], evaluated[1][0])  # the first layer sees no mask
    with pytest.raises(ValueError, match="GRU: expected a key for its random numbers, got none"):
        model.apply(params, state, x, train=True)


def test_all_dropped_needs_no_key():
    theirs, ours, params, state = pair("GRU", 2, 3, 2, dropout=1.0)
    x = normal(4, 2, 2)
    (output, h), _ = ours.apply(params, state, x, train=True)
    for value, expected in zip((output, h), theirs(torch.from_numpy(x)), strict=True):
        assert_close(value, expected)


def test_dropout_of_one_layer_warns_and_needs_no_key():
    with pytest.warns(UserWarning, match=r"LSTM: dropout=0.5 has no effect with one layer"):
        model = nn.LSTM(2, 3, dropout=0.5)
    params, state = model.init(KEY)
    x = jnp.ones((4, 2))
    trained = model.apply(params, state, x, train=True)
    chex.assert_trees_all_equal(trained, model.apply(params, state, x))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_weights_begin_within_torchs_bounds(name):
    params, _ = getattr(nn, name)(40, 25).init(KEY)
    bound = 1 / math.sqrt(25)
    for weight in jax.tree.leaves(params):
        largest = np.abs(weight).max()
        assert bound * (1 - 12 / weight.size) <= largest <= bound * (1 + 1e-6)
        assert abs(weight.mean()) <= 5 * bound / math.sqrt(3 * weight.size)


def test_empty_batch():
    model = nn.LSTM(2, 3, batch_first=True)
    (output, (h, c)), _ = model.apply(*model.init(KEY), jnp.ones((0, 4, 2)))
    assert output.shape == (0, 4, 3) and h.shape == c.shape == (1, 0, 3)


def call(model, *inputs):
    return model.apply(*model.init(KEY), *inputs)


X = jnp.ones((5, 2, 3))
ERRORS = [
    (lambda: nn.LSTM(0, 4), ValueError, "LSTM: expected input_size of 1 or more, got 0"),
    (lambda: nn.GRU(3, 4, 1.5), TypeError, "GRU: expected num_layers an int, got 1.5"),
    (lambda: nn.RNN(3, 4, 1, "elu"), ValueError, 'RNN: expected nonlinearity "tanh" or "relu", g'),
    (lambda: nn.RNNCell(3, 4, True, "elu"), ValueError, 'RNNCell: expected nonlinearity "tanh"'),
    (lambda: nn.GRU(3, 4, bias=1), TypeError, "GRU: expected bias a bool, got 1"),
    (lambda: nn.GRU(3, 4, 2, dropout=2), ValueError, "GRU: expected dropout between 0 and 1, got"),
    (lambda: nn.GRU(3, 4, 2, dropout=True), ValueError, "expected dropout between 0 and 1, got Tr"),
    (lambda: nn.LSTM(3, 4, proj_size=4), ValueError,
     "expected proj_size from 0 (none) to less tha"),
    (lambda: call(nn.LSTM(3, 4), X[0, 0]), ValueError,
     "expected input [L, N, 3] or [L, 3], got [3]"),
    (lambda: call(nn.LSTM(2, 4, batch_first=True), X), ValueError,
     "got [5, 2, 3]; set input_size=3"),
    (lambda: call(nn.GRU(3, 4), X[:0]), ValueError, "got [0, 2, 3]; give it one time step or more"),
    (lambda: call(nn.GRU(3, 4), X.astype(int)), TypeError,
     "GRU: expected float32 input, got int32"),
    (lambda: call(nn.GRU(3, 4), X, jnp.ones((1, 1, 4))), ValueError,
     "GRU: expected h_0 [1, 2, 4], [num_layers * directions, N, size], got [1, 1, 4]"),
    (lambda: call(nn.LSTM(3, 4), X[:, 0], (jnp.ones((1, 4)), jnp.ones((1, 1, 4)))), ValueError,
     "LSTM: expected c_0 [1, 4], [num_layers * directions, size], got [1, 1, 4]"),
    (lambda: call(nn.LSTM(3, 4), X, jnp.ones((2, 1, 2, 4))), TypeError,
     "expected hx a pair (h_0, c_0"),
    (lambda: call(nn.LSTM(3, 4), X, (jnp.ones((1, 2, 4)),)), ValueError,
     "(h_0, c_0), got 1 values"),
    (lambda: call(nn.GRUCell(3, 4), X), ValueError, "got [5, 2, 3]; a cell takes one time step"),
    (lambda: call(nn.GRUCell(2, 4), X[0]), ValueError,
     "[N, 2] or [2], got [2, 3]; set input_size=3"),
    (lambda: call(nn.GRUCell(3, 4), X[0], jnp.ones(4)), ValueError, "expected hx [2, 4], got [4]"),
    (lambda: call(nn.LSTMCell(3, 4), X[0], jnp.ones((2, 2, 4))), TypeError,
     "expected hx a pair (h, c"),
    (lambda: rnn.pack_padded_sequence(X, [5, 0]), ValueError,
     "expected lengths from 1 to 5, the inp"),
    (lambda: rnn.pack_padded_sequence(X, [4, 5]), ValueError,
     "in decreasing order, got [4, 5]; pass"),
    (lambda: rnn.pack_padded_sequence(X, [5]), ValueError,
     "expected 2 lengths, one for each sequence"),
    (lambda: rnn.pack_padded_sequence(X, jnp.ones(2)), TypeError, "integer lengths, got float32"),
    (lambda: rnn.pack_padded_sequence(X[:, :0], []), ValueError, "none of them 0, got [5, 0, 3]"),
    (lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(X, [5, 4]), total_length=4),
     ValueError,
     "pad_packed_sequence: expected total_length of 5 or more, the longest length, got 4"),
    (lambda: rnn.pad_packed_sequence(X), TypeError, "expected a PackedSequence, got ArrayImpl"),
    (lambda: rnn.pack_padded_sequence(X, jnp.array([5, 4])).data, ValueError,
     "PackedSequence.data: expected lengths that are known when the program is traced"),
    (lambda: rnn.pad_sequence([]), ValueError,
     "pad_sequence: expected one or more arrays [L_n, ...]"),
    (lambda: rnn.pad_sequence([X], padding_side="top"), ValueError,
     '"left" or "right", got \'top\''),
    (lambda: rnn.unpad_sequence(X, [5]), ValueError,
     "unpad_sequence: expected 2 lengths, got the sh"),
    (lambda: jax.jit(rnn.unpad_sequence)(X, jnp.array([5, 4])), ValueError,
     "expected lengths that ar"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "kind", "text"), ERRORS, ids=[row[2][:60] for row in ERRORS])
def test_errors(run, kind, text):
    with pytest.raises(kind, match=re.escape(text)):
        run()
