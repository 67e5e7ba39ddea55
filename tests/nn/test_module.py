"""init and apply: the contract, the views in forward, the trace guard, functional()."""

import copy
import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn
from tests.nn.parts import Counter, Dense, Net, Noise

KEY = jax.random.key(0)
X = jnp.ones((5, 3))


def test_init_gives_two_nested_dicts_by_attribute_name():
    params, state = Net().init(KEY)
    chex.assert_trees_all_equal_structs(
        params, {"fc1": {"weight": 0, "bias": 0}, "fc2": {"weight": 0, "bias": 0}}
    )
    assert state == {"counter": {"count": 0}}
    assert Noise().init(KEY) == ({}, {})


def test_apply_is_pure_and_keeps_the_structure_of_state():
    model = Net()
    params, state = model.init(KEY)
    before = copy.deepcopy(jax.tree.map(np.asarray, (params, state)))
    out, new = model.apply(params, state, X, train=True, key=KEY)
    chex.assert_trees_all_equal((params, state), before)
    chex.assert_trees_all_equal_structs(state, new)
    assert out.shape == (5, 2) and new["counter"]["count"] == 1
    assert model.apply(params, state, X)[1]["counter"]["count"] == 0


def test_init_under_jit_and_vmap_is_the_same_by_name():
    model = Net()
    params, _ = model.init(KEY)
    chex.assert_trees_all_close(jax.jit(model.init)(KEY)[0], params, rtol=1e-6)
    many, _ = jax.vmap(model.init)(jax.random.split(KEY, 3))
    one, _ = model.init(jax.random.split(KEY, 3)[1])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], many), one, rtol=1e-6)


def test_init_wants_a_key():
    with pytest.raises(TypeError, match=r"Net.init: expected a PRNG key, got 0; pass jax.random"):
        Net().init(0)
    Net().init(jax.random.PRNGKey(0))  # the old kind of key is a key
    text = r"Net.init: expected one PRNG key, got keys of shape \[3\]; jax.vmap takes one after"
    with pytest.raises(TypeError, match=text):
        Net().init(jax.random.split(KEY, 3))


@pytest.mark.parametrize("train", [True, False])
def test_apply_wants_a_key_if_anything(train):
    params, state = Net().init(KEY)
    with pytest.raises(TypeError, match="Net.apply: expected a PRNG key, got 3; pass jax.random"):
        Net().apply(params, state, jnp.ones((2, 3)), train=train, key=3)


def test_adding_a_layer_leaves_the_others_weights():
    class Wider(Net):
        def __init__(self):
            super().__init__()
            self.aaa = Dense(3, 3)

    small, large = Net().init(KEY)[0], Wider().init(KEY)[0]
    chex.assert_trees_all_equal(small["fc2"], large["fc2"])


def test_keys_do_not_depend_on_the_process():
    weight = Dense(2, 2).init(jax.random.key(7))[0]["weight"]
    named = jax.random.fold_in(jax.random.key(7), zlib.crc32(b"weight"))
    np.testing.assert_array_equal(weight, 0.1 * jax.random.normal(named, (2, 2)))


# ---- train and key


def test_train_must_be_a_python_bool():
    model = Net()
    params, state = model.init(KEY)
    with pytest.raises(TypeError, match='static_argnames="train"'):
        jax.jit(lambda t: model.apply(params, state, X, train=t, key=KEY))(True)
    with pytest.raises(TypeError, match="expected train to be a Python bool, got 1"):
        model.apply(params, state, X, train=1)
    jax.jit(model.apply, static_argnames="train")(params, state, X, train=True, key=KEY)


def test_a_missing_key_names_the_layer():
    model = Net()
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match='Noise "noise": .* key .*got none; give apply a key='):
        model.apply(params, state, X, train=True)


def test_two_calls_share_weights_and_draw_two_masks():
    class Twice(nn.Module):
        def __init__(self):
            self.noise, self.fc = Noise(), Dense(3, 3)

        def forward(self, x):
            return self.noise(x), self.noise(x), self.fc(x), self.fc(x)

    params, state = Twice().init(KEY)
    (a, b, c, d), _ = Twice().apply(params, state, X, train=True, key=KEY)
    assert not np.array_equal(a, b) and np.array_equal(c, d)
    again = Twice().apply(params, state, X, train=True, key=KEY)[0]
    chex.assert_trees_all_equal((a, b, c, d), again)


def test_a_forward_argument_may_be_called_key_or_train():
    class Attention(nn.Module):
        def __init__(self):
            self.query, self.key = Dense(3, 3), Dense(3, 3)

        def forward(self, x, key, train):
            return self.query(x) + self.key(key) * train

    params, state = Attention().init(KEY)
    assert set(params) == {"query", "key"}
    assert Attention().apply(params, state, X, X, 2.0)[0].shape == (5, 3)


# ---- in forward


def test_only_buffers_can_be_assigned():
    class Bad(nn.Module):
        def forward(self, x):
            self.cache = x
            return x

    with pytest.raises(AttributeError, match="Bad: 'cache' is assigned in forward"):
        Bad().apply({}, {}, X)


def test_a_buffer_keeps_its_shape_and_dtype():
    class Bad(nn.Module):
        def __init__(self):
            self.mean = nn.Buffer((3,), nn.init.zeros)

        def forward(self, x):
            self.mean = x
            return x

    _, state = Bad().init(KEY)
    with pytest.raises(ValueError, match=r"buffer 'mean' to keep its shape \(3,\), got \(5, 3\)"):
        Bad().apply({}, state, X)
    _, new = Bad().apply({}, state, jnp.ones(3, jnp.bfloat16))
    assert new["mean"].dtype == jnp.float32


def test_params_that_do_not_fit_are_listed_at_once():
    model = Net()
    params, state = model.init(KEY)
    bad = {"fc1": {"weight": jnp.ones((4, 4)), "bias": params["fc1"]["bias"]}, "other": {"w": X}}
    with pytest.raises(ValueError) as error:
        model.apply(bad, {}, X)
    for line in (
        "fc1.weight: expected the shape (4, 3), got (4, 4)",
        "missing in state: counter.count",
        "missing in params: fc2.weight",
        "unexpected in params: other.w",
    ):
        assert line in str(error.value)
    with pytest.raises(TypeError, match="expected params to be a dict"):
        model.apply(X, params, state)


def test_errors_say_which_part_they_come_from():
    model = Net()
    params, state = model.init(KEY)
    with pytest.raises(TypeError) as error:
        model.apply(params, state, jnp.ones((5, 7)))
    assert [n for n in error.value.__notes__ if "part" in n] == ['in part Dense "fc1"']


def test_a_module_with_parameters_is_not_called_by_itself():
    with pytest.raises(TypeError, match="Dense has parameters and cannot be called by itself"):
        Dense(3, 2)(X)
    with pytest.raises(TypeError, match=r"than forward nn.method\(model, name\).apply"):
        Net().fc1(X)
    with pytest.raises(RuntimeError, match="Noise: training is known to parts of a model only"):
        Noise()(X)
    with pytest.raises(TypeError, match="Module has no forward"):
        nn.Module()()


def test_what_belongs_to_forward_raises_outside():
    for use in (lambda m: m.training, lambda m: m.next_key(), lambda m: m.functional()):
        with pytest.raises(RuntimeError, match="in forward only, inside of apply"):
            use(Net())


# ---- the trace guard


def transformed(transform, part):
    class Outer(nn.Module):
        def __init__(self):
            self.part = part

        def forward(self, x):
            return transform(self.part)(x)

    return Outer()


TRANSFORMS = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "vmap": jax.vmap,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, y: (c, f(y)), 0, x)[1],
    "cond": lambda f: lambda x: jax.lax.cond(True, f, f, x),
    "grad": lambda f: jax.grad(lambda x: f(x).sum()),
}


@pytest.mark.parametrize("outside", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("part", [Counter(), Noise()], ids=["state", "key"])
def test_the_guard_names_the_part(part, name, outside):
    model = transformed(TRANSFORMS[name], part)
    params, state = model.init(KEY)
    run = outside(lambda s, k: model.apply(params, s, X, train=True, key=k))
    with pytest.raises(RuntimeError, match='"part": .* under a transformation inside of forward'):
        run(state, KEY)
    model.apply(params, state, X)  # evaluation does neither


def test_transformations_outside_pass():
    model = Net()
    params, state = model.init(KEY)

    def loss(params, x, key):
        return model.apply(params, state, x, train=True, key=key)[0].sum()

    grads = jax.vmap(jax.grad(loss), (None, 0, 0))(params, X[:, None], jax.random.split(KEY, 5))
    assert grads["fc1"]["weight"].shape == (5, 4, 3)
    alone = jax.grad(loss)(params, X[2:3], jax.random.split(KEY, 5)[2])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[2], grads), alone, rtol=1e-5)


def test_functional_lifts_a_part_out():
    class Rematerialised(nn.Module):
        def __init__(self):
            self.net = Net()

        def forward(self, x):
            fn, (params, state) = self.net.functional()
            out, new = jax.checkpoint(fn)(params, state, x, key=self.next_key())
            nn.record_state(self.net, new)
            return out

    model = Rematerialised()
    params, state = model.init(KEY)

    def loss(params):
        out, new = model.apply(params, state, X, train=True, key=KEY)
        return out.sum(), new

    (_, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
    assert new["net"]["counter"]["count"] == 1
    assert grads["net"]["fc1"]["weight"].shape == (4, 3)
    with pytest.raises(ValueError, match='Noise "net.noise": expected a key'):

        class Forgetful(Rematerialised):
            def forward(self, x):
                fn, (params, state) = self.net.functional()
                return fn(params, state, x)[0]

        Forgetful().apply(params, state, X, train=True, key=KEY)


def test_functional_takes_derivatives_with_respect_to_inputs():
    class Energy(nn.Module):
        def __init__(self):
            self.net = Dense(3, 1)

        def forward(self, x):
            fn, (params, state) = self.net.functional()
            return jax.vmap(jax.grad(lambda row: fn(params, state, row)[0].sum()))(x)

    params, state = Energy().init(KEY)
    force = Energy().apply(params, state, X)[0]
    chex.assert_trees_all_close(force, jnp.broadcast_to(params["net"]["weight"], (5, 3)))


# ---- the jaxpr is that of hand-threaded code


def test_jaxpr_equals_hand_threaded_code():
    class Model(nn.Module):
        def __init__(self):
            self.fc, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            return fx.functional.relu(self.norm(self.fc(x)))

    def by_hand(params, state, x):
        F = fx.functional
        x = F.linear(x, params["fc"]["weight"], params["fc"]["bias"])
        old, p = state["norm"], params["norm"]
        count = old["num_batches_tracked"] + 1
        x, (mean, var) = F.batch_norm(
            x, old["running_mean"], old["running_var"], p["weight"], p["bias"], True, 0.1, 1e-5
        )
        new = {"running_mean": mean, "running_var": var, "num_batches_tracked": count}
        return F.relu(x), {"norm": {name: new[name] for name in old}}

    model = Model()
    params, state = model.init(KEY)
    ours = jax.make_jaxpr(lambda p, s, x: model.apply(p, s, x, train=True))(params, state, X)
    assert str(ours) == str(jax.make_jaxpr(by_hand)(params, state, X))


# ---- what people build


def test_a_class_token_and_positions():
    class Tokens(nn.Module):
        def __init__(self, dim):
            self.cls = nn.Parameter((1, 1, dim), nn.init.trunc_normal(std=0.02))
            self.register_buffer("position", np.arange(12, dtype=np.float32).reshape(1, 3, 4))

        def forward(self, x):
            cls = jnp.broadcast_to(self.cls, (x.shape[0], 1, x.shape[2]))
            return jnp.concatenate([cls, x], axis=1) + self.position

    model = Tokens(4)
    params, state = model.init(KEY)
    out, _ = model.apply(params, state, jnp.zeros((2, 2, 4)))
    np.testing.assert_array_equal(out[0, 1:], np.arange(12.0).reshape(3, 4)[1:])
    assert hash(model) == hash(Tokens(4)) and list(fx.state_dict(model, params, state)) == [
        "cls",
        "position",
    ]


def test_an_ema_codebook():
    class Codebook(nn.Module):
        def __init__(self, n, dim):
            self.table = nn.Parameter((n, dim), nn.init.normal(std=0.02))
            self.usage = nn.Buffer((n,), nn.init.zeros)

        def forward(self, x):
            nearest = jnp.argmin(((x[:, None] - self.table) ** 2).sum(-1), axis=1)
            if self.training:
                hits = jnp.zeros_like(self.usage).at[nearest].add(1.0)
                self.usage = 0.9 * self.usage + 0.1 * hits
            return self.table[nearest]

    model = Codebook(4, 3)
    params, state = model.init(KEY)
    step = jax.jit(model.apply, static_argnames="train")
    for _ in range(2):
        _, state = step(params, state, X, train=True)
    np.testing.assert_allclose(state["usage"].sum(), 5 * (1 - 0.9**2), rtol=1e-5)


@pytest.mark.full
def test_linearize_and_second_derivatives_go_through_a_whole_model():
    model = fx.models.ConvNet()
    params, state = model.init(KEY)
    x = jax.random.normal(KEY, (2, 3, 8, 8))

    def run(x):
        return model.apply(params, state, x, train=True, key=KEY)[0]

    out, tangent = jax.linearize(run, x)
    expected = jax.jvp(run, (x,), (x,))
    chex.assert_trees_all_close((out, tangent(x)), expected, rtol=1e-4, atol=1e-5)


def test_threefry_gives_the_same_models_under_vmap_and_rbg_keys_are_taken():
    keys = jax.random.split(KEY, 3)
    many, _ = jax.vmap(Dense(3, 2).init)(keys)
    for i, key in enumerate(keys):
        one, _ = Dense(3, 2).init(key)
        chex.assert_trees_all_equal(jax.tree.map(lambda a, i=i: a[i], many), one)
    params, _ = Dense(3, 2).init(jax.random.key(0, impl="rbg"))
    assert params["weight"].shape == (2, 3)


class WritesInPlace(nn.Module):
    """As torch's habits have it, which of NumPy's arrays changes the caller's."""

    def forward(self, x, lengths=None):
        y = x
        y *= 3
        return x.at[0].set(y.sum()), lengths


def test_numpys_inputs_are_arrays_of_jaxs():
    x = np.ones((2, 2), np.float32)
    packed = nn.utils.rnn.pack_padded_sequence(np.ones((3, 2), np.float32), [3, 1])
    (y, given), _ = WritesInPlace().apply({}, {}, x, lengths=[np.arange(3), None, "a", packed])
    np.testing.assert_array_equal(x, np.ones((2, 2)))
    np.testing.assert_array_equal(y, [[12, 12], [1, 1]])
    assert isinstance(given[0], np.ndarray) and given[1:3] == [None, "a"]
    assert given[3].data.shape == (4,)


def test_numpys_arrays_stay_what_is_known_where_a_program_is_traced():
    class Sliced(nn.Module):
        def forward(self, x, at):
            return x[: int(at[0])]

    run = jax.jit(lambda x: Sliced().apply({}, {}, x, np.array([2]))[0])
    assert run(jnp.ones(5)).shape == (2,)
