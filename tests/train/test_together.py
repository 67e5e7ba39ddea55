"""An evaluation's mean over examples is what they give at once, or an error says that it is not."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import data, nn, train
from fx.functional import cross_entropy, normalize
from fx.train.many.together import evaluate_together

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 23).astype(np.int32)
MODEL = nn.Linear(4, 3)
WEIGHT = jnp.array([1.0, 2.0, 9.0])
ADAM, KEY = fx.optim.adam(1e-2), jax.random.key(0)


def loader(batch_size=8):
    return data.Loader(data.Dataset(X, LABELS), batch_size)


def fresh():
    return train.create(MODEL, ADAM, jax.random.key(0))


def contrastive(outputs, targets):
    one = normalize(outputs)
    return cross_entropy(10 * one @ one.T, jnp.arange(len(one)))


def of_classes(outputs, targets):
    return cross_entropy(outputs, targets, weight=WEIGHT)


def weighed(outputs, targets):
    total = cross_entropy(outputs, targets, weight=WEIGHT, reduction="sum")
    return train.Mean(total, WEIGHT[targets].sum())


def rmse(outputs, targets):
    return {"rmse": jnp.sqrt(jnp.mean((outputs[:, 0] - targets.astype(jnp.float32)) ** 2))}


@pytest.mark.parametrize("batch_size", [2, 8, 23, 32])  # the last with 9 rows of padding
@pytest.mark.parametrize(
    ("loss", "metrics", "text"),
    [
        (contrastive, None, "the loss of several examples at once is .* train.Mean.* validate of"),
        (of_classes, None, "the loss of several examples at once is"),
        (cross_entropy, rmse, "the metric 'rmse' of several .* or train.Sums of what"),
    ],
)
def test_what_is_no_mean_over_examples_is_refused(loss, metrics, text, batch_size):
    validate = train.make_eval(MODEL, loss, loader(batch_size), metrics=metrics)
    with pytest.raises(ValueError, match=f"make_eval: {text}"):
        validate(fresh())


@pytest.mark.parametrize("batch_size", [1, 2, 8, 23, 32])
@pytest.mark.parametrize("loss", [weighed, nn.CrossEntropyLoss(WEIGHT), cross_entropy])
def test_what_is_one_is_not(loss, batch_size):
    ts = fresh()
    outputs, _ = MODEL.apply(ts.params, ts.state, X)
    expected = loss(outputs, LABELS)
    expected = expected.total / expected.weight if isinstance(expected, train.Mean) else expected
    found = train.make_eval(MODEL, loss, loader(batch_size))(ts)["loss"]
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_a_mean_near_zero_of_large_numbers_is_one():
    """Rounding is measured by the numbers that are added up."""
    x = np.stack([1e3 + X[:, 0], -1e3 - X[:, 0]]).reshape(-1, 1)
    each = data.Loader(data.Dataset(x, x), 16)
    validate = train.make_eval(nn.Identity(), lambda y, t: jnp.mean(y), each)
    assert abs(validate(train.create(nn.Identity(), ADAM, jax.random.key(0)))["loss"]) < 1e-3


def test_fit_finds_it_before_it_trains():
    trained = []

    def step(ts, batch):
        trained.append(1)
        return ts.replace(step=ts.step + 1), {"loss": jnp.float32(0)}

    validate = train.make_eval(MODEL, contrastive, loader())
    with pytest.raises(ValueError, match="the loss of several examples at once"):
        fx.fit(step, fresh(), loader(), validate=validate, epochs=1, progress=False)
    assert not trained


@pytest.mark.parametrize("how", ["loop", "vmap"])
def test_several_runs_find_it(how):
    step = train.make_step(MODEL, contrastive, ADAM)
    states = [train.create(MODEL, ADAM, jax.random.key(seed)) for seed in (0, 1)]
    validate = train.make_eval(MODEL, contrastive, loader())
    calls = []
    with pytest.raises(ValueError, match="the loss of several examples at once"):
        train.fit_many(
            step, states, loader(), validate=validate, epochs=1, how=how, progress=False,
            log_every=1, callbacks=[calls.append],
        )  # fmt: skip
    assert not calls


def outputs_of(values, dtype=None):
    """A model of these outputs, a loader of them with targets, and what to evaluate."""
    values = np.asarray(values, np.float32)

    class Given:
        def apply(self, params, state, x, *, train=False, key=None):
            return x.astype(dtype or x.dtype), state

    def check(loss, targets, metrics=None):
        each = data.Loader(data.Dataset(values, targets), 8)
        return train.make_eval(Given(), loss, each, metrics=metrics)(fresh())

    return check


def test_a_loss_near_its_end_is_none_the_less_a_mean():
    """Of outputs so near the targets rounding is all that there is."""
    target = RNG.standard_normal((64, 512)).astype(np.float32)
    check = outputs_of(target + 3e-3 * RNG.standard_normal((64, 512)))
    found = check(lambda y, t: 1 - jnp.mean(fx.functional.cosine_similarity(y, t)), target)
    assert 0 < found["loss"] < 1e-4


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_narrow_loss_has_its_rounding(dtype):
    check = outputs_of(RNG.standard_normal((32, 3)), dtype)
    labels = RNG.integers(0, 3, 32).astype(np.int32)
    assert check(cross_entropy, labels)["loss"] > 0
    with pytest.raises(ValueError, match="several examples at once"):
        check(contrastive, labels)


def test_a_last_layer_of_zeros_hides_nothing():
    """All examples have the loss log K, whatever they weigh."""
    check = outputs_of(np.zeros((16, 3)))
    with pytest.raises(ValueError, match="several examples at once"):
        check(of_classes, np.arange(16, dtype=np.int32) % 3)


def test_what_is_one_number_for_all_examples_stays_one():
    """A scale that a model gives to each example, for want of a batch's own place."""

    class Scaled:
        def apply(self, params, state, x, *, train=False, key=None):
            return (x, jnp.full(len(x), 0.3)), state

    def loss(outputs, targets):
        logits, scale = outputs
        return cross_entropy(logits / scale[0], targets)

    each = data.Loader(data.Dataset(X[:, :3], LABELS), 8)
    expected = cross_entropy(jnp.asarray(X[:, :3]) / 0.3, jnp.asarray(LABELS))
    found = train.make_eval(Scaled(), loss, each)(fresh())["loss"]
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_probabilities_stay_probabilities():
    p = np.tile([0.0, 1.0], 8)[:, None]
    found = outputs_of(p)(lambda y, t: fx.functional.binary_cross_entropy(y, t), p.astype("f4"))
    assert found["loss"] == 0
    others = np.tile([0.0, 0.0, 1.0, 1.0], 4)[:, None].astype(np.float32)
    with pytest.raises(ValueError, match="several examples at once"):
        outputs_of(p)(lambda y, t: jnp.sqrt(fx.functional.binary_cross_entropy(y, t)), others)


def test_a_sum_is_told_to_be_divided():
    check = outputs_of(RNG.standard_normal((16, 3)))
    with pytest.raises(ValueError, match=r"a sum over the batch is to be divided .*len\(outputs\)"):
        check(nn.MSELoss(reduction="sum"), np.zeros((16, 3), np.float32))


def test_a_metric_that_some_examples_have_not():
    def recall(outputs, targets):
        return {"recall": jnp.sum(jnp.where(outputs > 0, targets, 0)) / jnp.sum(targets)}

    targets = np.eye(4, 3, dtype=np.float32)[np.arange(16) % 4]  # every fourth has none
    with pytest.raises(ValueError, match="the metric 'recall' of several .* by itself nan"):
        outputs_of(np.ones((16, 3)))(lambda y, t: jnp.mean(y), targets, recall)


def test_targets_out_of_range_are_found_before_training():
    trained = []
    step = train.make_step(MODEL, cross_entropy, ADAM)
    each = data.Loader(data.Dataset(X, LABELS + 1), 8)
    validate = train.make_eval(MODEL, cross_entropy, each)
    with pytest.raises(ValueError, match="of 8 examples is nan, .* targets are out of range"):
        fx.fit(
            step, fresh(), each, validate=validate, epochs=1, log_every=1,
            callbacks=[trained.append],
        )  # fmt: skip
    assert not trained


def test_it_is_looked_at_once():
    validate = train.make_eval(MODEL, cross_entropy, loader())
    first = validate(fresh())
    assert validate.checked == [True] and validate(fresh()) == first
    diverged = train.make_eval(MODEL, contrastive, loader())
    broken = fresh().replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, fresh().params))
    assert np.isnan(diverged(broken)["loss"]) and not diverged.checked
    with pytest.raises(ValueError, match="several examples at once"):
        diverged(fresh())


class Noisy(nn.Module):
    """Draws when it is evaluated, as a diffusion model does."""

    def __init__(self):
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = self.linear(x)
        return x + jax.random.normal(self.next_key(), x.shape)


def test_a_model_that_draws_has_a_key_for_each_batch():
    model, key = Noisy(), jax.random.key(3)
    each, ts = loader(), train.create(model, ADAM, jax.random.key(0))
    outputs, _ = train.predict(model, ts.params, {}, each, key=key)
    again, _ = train.predict(model, ts.params, {}, each, key=key)
    np.testing.assert_array_equal(outputs, again)
    noise = outputs - model.linear.apply(ts.params["linear"], {}, X)[0]
    assert len(np.unique(noise)) == noise.size and np.std(noise) == pytest.approx(1, abs=0.3)
    expected, _ = model.apply(ts.params, {}, X[8:16], key=jax.random.fold_in(key, 1))
    np.testing.assert_allclose(outputs[8:16], expected, rtol=1e-5, atol=1e-6)

    validate = train.make_eval(model, cross_entropy, each, key=key)
    found = validate(ts)["loss"]
    assert found == pytest.approx(float(cross_entropy(outputs, jnp.asarray(LABELS))), rel=1e-5)
    runs = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), ts)
    assert evaluate_together(validate, runs)[1]["loss"] == pytest.approx(found, rel=1e-5)
    other = train.make_eval(model, cross_entropy, each, key=jax.random.key(4))
    assert other(ts)["loss"] != found


def test_a_transform_that_draws_has_the_key_too():
    def hidden(x, targets, key):  # what is left out is to be told from the rest
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 0.0, x), x

    model, key, each = nn.Linear(4, 4), jax.random.key(3), loader()
    ts, options = train.create(model, ADAM, KEY), {"transform": data.transforms.WithTargets(hidden)}
    validate = train.make_eval(model, fx.functional.mse_loss, each, key=key, **options)
    outputs, targets = train.predict(model, ts.params, {}, each, key=key, **options)
    np.testing.assert_array_equal(targets, X)
    expected = np.mean((outputs - targets) ** 2)
    assert validate(ts)["loss"] == validate(ts)["loss"] == pytest.approx(expected, rel=1e-5)
    identity = ts.replace(params={"weight": jnp.eye(4), "bias": jnp.zeros(4)})
    seen, _ = train.predict(model, identity.params, {}, each, key=key, **options)
    assert 0.3 < np.mean(seen == 0) < 0.7 and not np.array_equal(seen[:8] == 0, seen[8:16] == 0)


def test_a_key_that_is_missing_or_none():
    with pytest.raises(ValueError, match="key"):
        train.make_eval(Noisy(), cross_entropy, loader())(train.create(Noisy(), ADAM, KEY))
    with pytest.raises(TypeError, match="make_eval: .*key"):
        train.make_eval(Noisy(), cross_entropy, loader(), key=cast(Any, 0))
    with pytest.raises(TypeError, match="predict: .*key"):
        train.predict(Noisy(), {}, {}, loader(), key=cast(Any, 0))
