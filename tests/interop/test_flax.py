import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import fx
from fx import functional as F
from fx.interop.flax import from_flax

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 4


@pytest.fixture(autouse=True)
def promotion():
    """Flax itself needs JAX's usual promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


class LinenNet(linen.Module):
    classes: int = 4

    @linen.compact
    def __call__(self, x, train: bool):
        x = linen.Conv(8, (3, 3))(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = linen.avg_pool(x, (2, 2), (2, 2)).mean((1, 2))
        x = linen.Dropout(0.5, deterministic=not train)(x)
        return linen.Dense(self.classes)(x)


class NNXNet(nnx.Module):
    def __init__(self, classes: int = 4, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, classes, rngs=rngs)])

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        x = self.drop(nnx.avg_pool(x, (2, 2), (2, 2)).mean((1, 2)))
        for head in self.heads:
            x = head(x)
        return x


def linen_model():
    return from_flax(LinenNet(), jnp.ones((1, 4, 4, 3)))


MODELS = pytest.mark.parametrize(
    "make", [linen_model, lambda: from_flax(NNXNet)], ids=["linen", "nnx"]
)


@MODELS
def test_the_contract(make):
    model = make()
    params, state = jax.jit(model.init)(KEY)
    apply = jax.jit(model.apply, static_argnames="train")
    outputs, kept = apply(params, state, X)
    assert outputs.shape == (6, 4)
    chex.assert_trees_all_equal(kept, state)
    one, new = apply(params, state, X, train=True, key=KEY)
    two, _ = apply(params, state, X, train=True, key=KEY)
    three, _ = apply(params, state, X, train=True, key=jax.random.key(1))
    chex.assert_trees_all_equal_structs(new, state)
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, three) and not np.allclose(one, outputs)
    assert any(not np.allclose(a, b) for a, b in zip(*map(jax.tree.leaves, (new, state))))
    for tree in (params, state):
        assert all(isinstance(name, str) for name in _keys(tree))


def _keys(tree):
    for name, value in tree.items():
        yield name
        if isinstance(value, dict):
            yield from _keys(value)


@MODELS
def test_equal_wrappers_are_equal_and_hash_alike(make):
    model, other = make(), make()
    assert model == other and hash(model) == hash(other)
    assert model != from_flax(linen.Dense(2), X)


@pytest.mark.parametrize(
    "make",
    [pytest.param(linen_model, marks=pytest.mark.full), lambda: from_flax(NNXNet)],
    ids=["linen", "nnx"],
)
def test_transformations(make):
    model = make()
    keys = jax.random.split(KEY, 3)
    params, state = jax.jit(jax.vmap(model.init))(keys)
    outputs, _ = jax.jit(jax.vmap(model.apply, (0, 0, None)))(params, state, X)
    assert outputs.shape == (3, 6, 4)
    single = jax.jit(model.init)(keys[1])
    np.testing.assert_allclose(outputs[1], jax.jit(model.apply)(*single, X)[0], atol=1e-5)

    def loss(params):
        return model.apply(params, single[1], X, train=True, key=KEY)[0].sum()

    @jax.jit
    def both(params):
        grads = jax.grad(loss)(params)
        return grads, jax.jvp(loss, (params,), (grads,))[1]

    grads, tangent = both(single[0])
    chex.assert_trees_all_equal_shapes(grads, single[0])
    assert tangent > 0


@MODELS
def test_a_missing_key_and_a_traced_train_are_named(make):
    model = make()
    params, state = jax.jit(model.init)(KEY)
    with pytest.raises(ValueError, match="Net: expected a key for its random numbers, got none"):
        jax.jit(functools.partial(model.apply, train=True))(params, state, X)
    with pytest.raises(TypeError, match="expected train to be a Python bool"):
        model.apply(params, state, X, train=1)


@MODELS
def test_fit_checkpoint_and_export_by_the_same_code(make, tmp_path):
    model = make()
    loader = fx.data.Loader(fx.data.Dataset(X, LABELS, tuple("abcd")), 3)
    step = fx.train.make_step(model, F.cross_entropy, optax.adam(1e-2))
    ts = fx.train.create(model, step.optimizer, KEY)
    result = fx.fit(step, ts, loader, epochs=30, out=tmp_path / "run")
    ts = result.ts
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < losses[0]
    path = fx.export(
        model, ts.params, ts.state, ((None, 4, 4, 3), "float32"), tmp_path / "bundle",
        classes=list("abcd"),
    )  # fmt: skip
    found = fx.load_bundle(path)(X)["probabilities"]
    live = jax.nn.softmax(jax.jit(model.apply)(ts.params, ts.state, X)[0])
    np.testing.assert_allclose(found, live, atol=1e-5)


def test_linen_gives_what_flax_gives():
    module, model = LinenNet(), linen_model()
    params, state = jax.jit(model.init)(KEY)
    theirs = jax.jit(functools.partial(module.init, train=False))(KEY, X)
    chex.assert_trees_all_close({"params": params, **state}, theirs)
    run = jax.jit(functools.partial(module.apply, train=True, mutable=["batch_stats"]))
    theirs, updated = run({"params": params, **state}, X, rngs={"params": KEY})
    ours, new = jax.jit(model.apply, static_argnames="train")(params, state, X, train=True, key=KEY)
    np.testing.assert_array_equal(ours, theirs)
    chex.assert_trees_all_equal(new, updated)


def test_nnx_gives_what_flax_gives():
    module = NNXNet(rngs=nnx.Rngs(7))
    model = from_flax(module)
    params, state = model.init(KEY)
    np.testing.assert_array_equal(params["heads"]["1"]["kernel"], module.heads[1].kernel[...])
    module.eval()
    np.testing.assert_allclose(model.apply(params, state, X)[0], module(X), atol=1e-6)
    module.train()
    module.drop.rate = 0.0
    still = from_flax(module)
    ours, new = still.apply(params, state, X, train=True)
    np.testing.assert_allclose(ours, module(X), atol=1e-6)
    np.testing.assert_allclose(new["norm"]["mean"], module.norm.mean[...], atol=1e-6)


def test_an_instance_is_not_changed_and_its_weights_are_copied():
    module = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    model = from_flax(module)
    params, _ = model.init(KEY)
    jax.tree.map(lambda leaf: leaf.delete(), params)  # as a step that donates does
    np.testing.assert_array_equal(model.init(KEY)[0]["kernel"], module.kernel[...])
    assert model != from_flax(module) and hash(model)


def test_a_function_of_rngs():
    model = from_flax(lambda rngs: nnx.Linear(2, 3, rngs=rngs))
    first, second = model.init(KEY)[0], model.init(jax.random.key(1))[0]
    assert not np.allclose(first["kernel"], second["kernel"])
    assert from_flax(lambda r: nnx.Linear(2, 3, rngs=r)).init(KEY)[0]["bias"].shape == (3,)


class Noisy(nnx.Module):
    def __init__(self, rngs):
        self.rngs, self.seen = rngs, nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, x):
        self.seen[...] += 1
        self.sow(nnx.Intermediate, "input", x)
        return x + jax.random.normal(self.rngs.noise(), x.shape) - self.rngs.params.uniform()


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
def test_streams_variables_and_what_is_sown():
    model = from_flax(Noisy)
    params, state = model.init(KEY)
    assert params == {} and set(state) == {"seen"}
    one, new = model.apply(params, state, jnp.zeros(3), key=KEY)
    assert int(new["seen"]) == 1 and np.std(one) > 0
    with pytest.raises(ValueError, match="Noisy: expected a key"):
        model.apply(params, state, jnp.zeros(3))
    old = jax.random.PRNGKey(0)
    np.testing.assert_array_equal(model.apply(params, state, jnp.zeros(3), key=old)[0], one)


class Attention(linen.Module):
    @linen.compact
    def __call__(self, x, mask=None, *, deterministic=True):
        self.sow("intermediates", "input", x)
        return linen.MultiHeadDotProductAttention(2, dropout_rate=0.5)(
            x, mask=mask, deterministic=deterministic
        )


def test_other_names_of_the_mode_and_keywords():
    x = jnp.ones((2, 5, 4)) * jnp.arange(5.0)[:, None]
    model = from_flax(Attention(), x, None)
    params, state = model.init(KEY)
    assert state == {}
    quiet, _ = model.apply(params, state, x)
    loud, new = model.apply(params, state, x, train=True, key=KEY)
    assert not np.allclose(quiet, loud) and new == {}
    forced, _ = model.apply(params, state, x, train=True, deterministic=True)
    np.testing.assert_array_equal(forced, quiet)
    mask = jnp.tril(jnp.ones((5, 5), bool))
    assert not np.allclose(model.apply(params, state, x, mask=mask)[0], quiet)


class Growing(linen.Module):
    @linen.compact
    def __call__(self, x):
        self.sow("losses", "penalty", jnp.ones(()))
        return x


class Centred(linen.Module):
    @linen.compact
    def __call__(self, x):
        return x - self.variable("statistics", "mean", x.mean).value


def test_a_start_that_depends_on_the_data_is_an_error():
    with pytest.raises(ValueError, match="Centred: a variable of it starts with what depends on"):
        from_flax(Centred(), X).init(KEY)


class Adding(nnx.Module):
    def __call__(self, x):
        self.late = nnx.Variable(x)
        return x


def test_state_that_changes_its_structure_is_an_error():
    model = from_flax(Growing(), X)
    with pytest.raises(ValueError, match="Growing: expected the collections losses to keep"):
        model.apply(*model.init(KEY), X)
    model = from_flax(lambda rngs: Adding())
    with pytest.raises(ValueError, match="Adding: expected its variables to stay the ones"):
        model.apply({}, {}, X)


class Listed(linen.Module):
    sizes: object

    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (LinenNet, r"got LinenNet; a Linen class needs its arguments first: LinenNet\(...\)"),
        (3, "expected a Linen module, an NNX module or a function of rngs that makes one, got int"),
        (lambda rngs, size: None, "a function of rngs alone, got one that needs rngs, size; write"),
        (lambda rngs: 3, "expected a function that makes an nnx.Module, got int"),
        (Listed(np.ones(2)), "Listed cannot be hashed .*; give it tuples in place of lists"),
    ],
)
def test_what_is_not_flax_is_named(module, text):
    with pytest.raises(TypeError, match=text):
        from_flax(module, X)


def test_params_of_another_model_are_named():
    model = from_flax(NNXNet)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="NNXNet: missing in params: heads.1.kernel; make"):
        model.apply(params | {"heads": {"0": params["heads"]["0"], "1": {"bias": 0}}}, state, X)


def test_self_may_be_called_otherwise():
    class Net(nnx.Module):
        def __init__(s, rngs):  # noqa: N805
            s.fc = nnx.Linear(3, 2, rngs=rngs)

        def __call__(s, x):  # noqa: N805
            return s.fc(x)

    net = from_flax(Net)
    assert net.apply(*net.init(KEY), jnp.ones((1, 3)))[0].shape == (1, 2)
