"""Attributes that live for one call of apply."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn

KEY = jax.random.key(0)
XS = jax.random.normal(jax.random.key(1), (5, 2, 4))


class Decoder(nn.Module):
    hidden = nn.Scratch()
    outputs = nn.Scratch()

    def __init__(self):
        self.hidden = None
        self.cell = nn.GRUCell(4, 4)

    def step(self, x):
        self.hidden = self.cell(x, self.hidden)
        self.outputs.append(self.hidden)

    def forward(self, xs):
        self.outputs = []
        for x in xs:
            self.step(x)
        return jnp.stack(self.outputs)


def test_methods_of_one_call_share_it_and_the_next_begins_anew():
    model, gru = Decoder(), nn.GRU(4, 4)
    params, state = model.init(KEY)
    assert state == {} and set(params) == {"cell"}
    renamed = {f"{name}_l0": leaf for name, leaf in params["cell"].items()}
    expected = gru.apply(renamed, {}, XS)[0][0]
    run = jax.jit(model.apply)
    for _ in range(2):
        outputs, new_state = run(params, state, XS)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        assert new_state == {}
    assert vars(model)["hidden"] is None and "outputs" not in vars(model)
    assert run._cache_size() == 1
    grads = jax.grad(lambda p: model.apply(p, state, XS)[0].sum())(params)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(grads))


def test_the_part_around_it_reads_it():
    class Around(nn.Module):
        def __init__(self, part):
            self.part = part

        def forward(self, xs):
            return self.part(xs), self.part.hidden

    params, state = Around(Decoder()).init(KEY)
    (outputs, hidden), _ = Around(Decoder()).apply(params, state, XS)
    np.testing.assert_array_equal(outputs[-1], hidden)
    (_, hidden), _ = Around(nn.eval_mode(Decoder())).apply(params, state, XS)
    np.testing.assert_array_equal(outputs[-1], hidden)


class Told(nn.Module):
    """Reads what the part around it has assigned."""

    factor = nn.Scratch()

    def __init__(self):
        self.factor = 1.0

    def forward(self, x):
        return x * self.factor


class Telling(nn.Module):
    def __init__(self, part):
        self.part = part

    def forward(self, x):
        self.part.factor = 3.0
        return self.part(x)


class Lifting(Telling):
    def forward(self, x):
        self.part.factor = 3.0
        fn, (params, state) = self.part.functional()
        return fn(params, state, x)[0]


class Leaving(nn.Module):
    def __init__(self, part):
        self.part = part

    def forward(self, xs):
        return self.part(xs), self.part.hidden


def test_values_cross_eval_mode_and_are_no_defaults_elsewhere():
    """A default that is read where a value was assigned would be a wrong number."""
    for wrap in (lambda part: part, nn.eval_mode):
        assert Telling(wrap(Told())).apply({}, {}, 2.0)[0] == 6.0
    text = '"part": .* is nn.Scratch, whose values do not cross nn.remat, .* functional'
    for model in (Telling(nn.remat(Told())), Telling(nn.vmap(Told())), Lifting(Told())):
        with pytest.raises(AttributeError, match=text):
            model.apply({}, {}, jnp.ones(2))
    model = Leaving(nn.remat(Decoder()))
    params, state = model.init(KEY)
    with pytest.raises(AttributeError, match=text):
        model.apply(params, state, XS)


def test_descriptions_compare_print_and_pickle_as_without_it():
    model = Decoder()
    assert model == Decoder() and hash(model) == hash(Decoder())
    assert pickle.loads(pickle.dumps(model)) == model
    assert "hidden" not in repr(model)
    assert "GRUCell (cell)" in str(fx.summary(model, XS))


class Early(nn.Module):
    last = nn.Scratch()

    def forward(self, x):
        assert not hasattr(self, "last")
        return self.last + x


class Late(nn.Module):
    last = nn.Scratch()

    def forward(self, x):
        def inner(x):
            self.last = x
            return x

        return jax.jit(inner)(x) + self.last


class Gone(nn.Module):
    last = nn.Scratch()

    def forward(self, x):
        self.last = x
        del self.last
        return hasattr(self, "last")


def test_what_it_cannot_be_used_for():
    text = "Early: 'last' is nn.Scratch, which has a value from where a method assigns it"
    with pytest.raises(AttributeError, match=text):
        Early().apply({}, {}, 1.0)
    with pytest.raises(AttributeError, match=text):
        _ = Early().last
    with pytest.raises(RuntimeError, match="Late: 'last' is assigned under a transformation"):
        Late().apply({}, {}, 1.0)
    with pytest.raises(AttributeError, match="Early is frozen after __init__: 'last' cannot"):
        Early().last = 3
    assert Gone().apply({}, {}, 1.0)[0] is False

    class Inside(nn.Module):
        def __init__(self):
            self.last = nn.Scratch()

    with pytest.raises(TypeError, match="Inside.last: nn.Scratch is declared in the class"):
        Inside()


def test_a_buffer_under_the_same_name_is_state():
    class Counts(Early):
        def __init__(self):
            self.last = nn.Buffer((), nn.init.zeros)

        def forward(self, x):
            self.last = self.last + 1
            return x

    assert Counts().apply({}, {"last": jnp.zeros(())}, 1.0)[1] == {"last": 1.0}
