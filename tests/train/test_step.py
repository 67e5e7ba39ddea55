import chex
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import fx
from fx import nn
from tests.train.tiny_run import (
    Batches,
    Net,
    accuracy,
    assert_same_bits,
    data,
    jitter,
    loss_fn,
    make,
)

OPTIMIZER = fx.optim.sgd(0.1)


def fresh():
    return fx.train.create(Net(), OPTIMIZER, jax.random.key(0))


def batch():
    return next(iter(Batches().epoch(0)))


def test_create_splits_the_key_and_initialises_the_optimizer():
    ts = fresh()
    init_key, run_key = jax.random.split(jax.random.key(0))
    assert_same_bits(ts.params, Net().init(init_key)[0])
    assert_same_bits(ts.key, run_key)
    assert ts.step.dtype == jnp.int32 and int(ts.step) == 0
    assert float(fx.optim.current_lr(ts.opt_state)) == pytest.approx(0.1)


def test_a_step_is_what_one_would_write_by_hand():
    ts, (x, y) = fresh(), batch()
    augment_key, model_key = jax.random.split(jax.random.fold_in(ts.key, 0))

    def objective(params):
        inputs = jitter(x, augment_key)
        outputs, state = Net().apply(params, ts.state, inputs, train=True, key=model_key)
        return loss_fn(outputs, y), (outputs, state)

    (loss, (outputs, state)), grads = jax.value_and_grad(objective, has_aux=True)(ts.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, ts.params, grads)
    step = fx.train.make_step(
        Net(), loss_fn, OPTIMIZER, metrics=accuracy, transform=jitter, donate=False
    )
    new, metrics = step(ts, (x, y))
    chex.assert_trees_all_close(new.params, expected, rtol=1e-6)
    chex.assert_trees_all_close(new.state, state, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    assert float(metrics["accuracy"]) == float(accuracy(outputs, y)["accuracy"])
    assert float(metrics["learning_rate"]) == pytest.approx(0.1)
    assert int(new.step) == 1
    assert_same_bits(new.key, ts.key)


def test_each_step_draws_anew_and_depends_on_the_step_only():
    step = fx.train.make_step(Net(), loss_fn, fx.optim.sgd(0.0), transform=jitter, donate=False)
    ts, one = fresh(), batch()
    after, first = step(ts, one)
    _, second = step(after.replace(state=ts.state), one)
    _, again = step(ts.replace(step=jnp.int32(1)), one)
    assert float(first["loss"]) != float(second["loss"])
    assert float(second["loss"]) == float(again["loss"])


def test_several_steps_a_call_are_the_single_steps():
    step, ts, _ = make(donate=False)
    stepped, _, _ = make(steps_per_call=4, donate=False)
    singles = []
    one = ts
    for each in Batches().epoch(0):
        one, metrics = step(one, each)
        singles.append(metrics)
    many, parts = ts, []
    for each in Batches().epoch(0, steps_per_call=4):  # 6 steps: 4 and 2
        many, metrics = stepped(many, each)
        parts.append(metrics)
    assert [part["loss"].shape for part in parts] == [(4,), (2,)]
    assert int(many.step) == int(one.step) == 6
    chex.assert_trees_all_close(many.params, one.params, rtol=1e-5, atol=1e-6)
    for name in ("loss", "learning_rate", "accuracy"):
        stacked = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(stacked, [m[name] for m in singles], rtol=1e-5)


def test_a_single_step_is_not_a_loop():
    step, ts, _ = make()
    assert "scan" not in str(jax.make_jaxpr(step.function)(ts, batch()))
    looped, ts, _ = make(steps_per_call=2)
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), batch())
    assert "scan" in str(jax.make_jaxpr(looped.function)(ts, stacked))


def test_it_compiles_once():
    counted = chex.assert_max_traces(loss_fn, n=3)  # of all; of some, one by one and at once
    step = fx.train.make_step(Net(), counted, OPTIMIZER)
    ts = fresh()
    for epoch in range(2):
        for each in Batches().epoch(epoch):
            ts, _ = step(ts, each)
    assert int(ts.step) == 12


def test_donation_reuses_the_state_and_can_be_turned_off():
    ts = fresh()
    fx.train.make_step(Net(), loss_fn, OPTIMIZER, donate=False)(ts, batch())
    assert not ts.params["first"]["weight"].is_deleted()
    fx.train.make_step(Net(), loss_fn, OPTIMIZER)(ts, batch())
    assert ts.params["first"]["weight"].is_deleted()


def test_a_tuple_of_inputs_becomes_arguments():
    class Two(Net):
        def apply(self, params, state, a, b, *, train=False, key=None):
            return super().apply(params, state, a + b, train=train, key=key)

    x, y = batch()
    one, _ = fx.train.make_step(Net(), loss_fn, OPTIMIZER)(fresh(), (x, y))
    two, _ = fx.train.make_step(Two(), loss_fn, OPTIMIZER)(fresh(), ((x, 0 * x), y))
    chex.assert_trees_all_close(one.params, two.params)


class Watching(Net):
    """Notes the dtypes that reach the model."""

    def apply(self, params, state, x, *, train=False, key=None):
        self.seen = {leaf.dtype for leaf in jax.tree.leaves((params, x))}
        self.state = {leaf.dtype for leaf in jax.tree.leaves(state)}
        return super().apply(params, state, x, train=train, key=key)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_precision(precision):
    model = Watching()
    seen = []

    def watching_loss(outputs, targets):
        seen.append(outputs.dtype)
        return loss_fn(outputs, targets)

    step = fx.train.make_step(model, watching_loss, OPTIMIZER, precision=precision, donate=False)
    ts = fresh()
    new, metrics = step(ts, batch())
    exact, _ = fx.train.make_step(Net(), loss_fn, OPTIMIZER, donate=False)(ts, batch())
    computed = jnp.bfloat16 if precision == "bf16" else jnp.float32
    assert model.seen == {jnp.dtype(computed)}
    assert model.state == {jnp.dtype(jnp.float32)}
    assert set(seen) == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(new.params)} == {jnp.dtype(jnp.float32)}
    assert metrics["loss"].dtype == jnp.float32
    tolerance = 0.02 if precision == "bf16" else 1e-6
    chex.assert_trees_all_close(new.params, exact.params, rtol=tolerance, atol=tolerance)
    if precision == "bf16":
        assert not np.array_equal(new.params["first"]["weight"], exact.params["first"]["weight"])


@pytest.mark.parametrize(
    "precision, expected", [("float32", "HIGHEST"), ("tf32", "HIGH"), ("bf16", "DEFAULT")]
)
def test_precision_reaches_every_product_whatever_the_default_is(precision, expected):
    step = fx.train.make_step(Net(), loss_fn, OPTIMIZER, precision=precision)
    with jax.default_matmul_precision("bfloat16"):
        text = step.compiled.lower(fresh(), batch()).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) >= 4  # two forward, two of the gradient
    assert all(f"precision = [{expected}, {expected}]" in line for line in products)


OPTAX = {
    "needs_the_loss": lambda: optax.chain(optax.sgd(1e-2), optax.contrib.reduce_on_plateau()),
    "starts_with_the_parameters": lambda: optax.contrib.schedule_free_sgd(1e-2),
    "takes_one_extra_argument": lambda: optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05)),
    "searches_along_a_line": lambda: optax.lbfgs(),
    "numbers_its_gradients": lambda: optax.contrib.sam(
        optax.sgd(0.1), optax.sgd(0.05), opaque_mode=True
    ),
    "differentiates_the_loss": lambda: optax.contrib.sophia(1e-2),
}


def test_optaxs_lookahead_is_refused_with_what_to_take():
    with pytest.raises(TypeError, match=r"a pair of parameter trees.*use fx\.optim\.lookahead"):
        fx.train.create(Net(), optax.lookahead(optax.sgd(0.1), 2, 0.5), jax.random.key(0))


@pytest.mark.parametrize(
    "name",
    [*list(OPTAX)[:3], *(pytest.param(name, marks=pytest.mark.full) for name in list(OPTAX)[3:])],
)
def test_any_optimizer_of_optax_works(name):
    optimizer = OPTAX[name]()
    step = fx.train.make_step(Net(), loss_fn, optimizer)
    ts = fx.train.create(Net(), optimizer, jax.random.key(0))
    before = np.asarray(ts.params["first"]["weight"])
    for each in (batch(), batch()):
        ts, metrics = step(ts, each)
    assert not np.array_equal(before, ts.params["first"]["weight"])
    assert np.isfinite(metrics["loss"])


def test_learning_rate_is_left_out_where_it_is_not_known():
    optimizer = optax.sgd(0.1)
    step = fx.train.make_step(Net(), loss_fn, optimizer)
    _, metrics = step(fx.train.create(Net(), optimizer, jax.random.key(0)), batch())
    assert set(metrics) == {"loss"}


class Growing(Net):
    def apply(self, params, state, x, *, train=False, key=None):
        outputs, _ = super().apply(params, state, x, train=train, key=key)
        return outputs, {"mean": jnp.zeros(4, jnp.bfloat16), "more": jnp.zeros(2)}


def run(model=None, loss=loss_fn, given=None, **options):
    step = fx.train.make_step(model or Net(), loss, OPTIMIZER, **options)
    return step(fresh(), batch() if given is None else given)


@pytest.mark.parametrize(
    "error, text, call",
    [
        (ValueError, "expected a batch .inputs, targets., got tuple of 3", {"given": (1, 2, 3)}),
        (ValueError, "got dict of 2; several inputs go in", {"given": {"x": 1, "y": 2}}),
        (ValueError, r"got an array \[4\]; several", {"given": np.zeros(4)}),
        (
            ValueError,
            r"loss_fn: expected 'loss' to be a scalar, got shape \[8, 3\]; take the mean",
            {"loss": lambda o, t: o},
        ),
        (
            ValueError,
            r"metrics: expected 'right' to be a scalar, got shape \[8\]",
            {"metrics": lambda o, t: {"right": t}},
        ),
        (TypeError, "metrics: expected a dictionary of scalars", {"metrics": lambda o, t: 1.0}),
        (
            TypeError,
            "metrics: expected a function that can be traced, but it asks for values .*NumPy",
            {"metrics": lambda o, t: {"mean": np.mean(np.asarray(o))}},
        ),
        (
            TypeError,
            "loss_fn: expected a function that can be",
            {"loss": lambda o, t: float(jnp.mean(o))},
        ),
        (
            TypeError,
            "got a tuple of 2; return the number alone; what else is to be reported is for metrics",
            {"loss": lambda o, t: (jnp.mean(o), {})},
        ),
        (
            TypeError,
            r"expected a batch of arrays, got builtins.str at batch\[1\]; convert it with np.as",
            {"given": (np.zeros((8, 4)), "labels")},
        ),
        (
            ValueError,
            "metrics: 'learning_rate/head' is reported already; use another name",
            {"metrics": lambda o, t: {"learning_rate/head": jnp.zeros(())}},
        ),
        (
            ValueError,
            "metrics: 'loss' is reported already",
            {"metrics": lambda o, t: {"loss": 1.0}},
        ),
        (
            ValueError,
            r"the model's state to keep structure, shapes and dtypes, but \['more'\] is new; "
            r"\['mean'\] was float32\[4\] and is bfloat16\[4\]",
            {"model": Growing()},
        ),
        (
            ValueError,
            "expected one of 'float32', 'tf32', 'bf16', 'fp16', got 'int8'",
            {"precision": "int8"},
        ),
        (ValueError, "expected steps_per_call of 1 or more, got 0", {"steps_per_call": 0}),
        (
            ValueError,
            r"steps_per_call=2 expected .* 1 to 2 steps, got shapes \[\[8, 4\], \[8\]\]",
            {"steps_per_call": 2},
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        run(**call)


@pytest.mark.parametrize(
    "inputs, note", [((np.zeros(8), np.zeros(8)), "a tuple of 2, and so became 2"), ({}, "a dict;")]
)
def test_how_inputs_become_arguments_is_said_where_their_number_is_wrong(inputs, note):
    class Three(fx.nn.Module):
        def forward(self, a, b, c):
            return a

    class Rows:
        def padded(self):
            yield (inputs, np.zeros(8)), np.ones(8, bool)

    ts = fx.train.create(Three(), OPTIMIZER, jax.random.key(0))
    step = fx.train.make_step(Three(), loss_fn, OPTIMIZER)
    validate = fx.train.make_eval(Three(), loss_fn, Rows())
    for call in (lambda: validate(ts), lambda: step(ts, (inputs, np.zeros(8)))):
        with pytest.raises(TypeError, match="positional argument") as caught:
            call()
        assert any(f"the batch's inputs are {note}" in each for each in caught.value.__notes__)


def test_a_dict_that_was_meant_to_be_arguments_is_said_to_be_one():
    class Named(fx.nn.Module):
        def forward(self, input_ids=None, attention_mask=None):
            return fx.functional.relu(input_ids) * attention_mask

    inputs = {"input_ids": np.ones((8, 4)), "attention_mask": np.ones((8, 1))}
    step = fx.train.make_step(Named(), loss_fn, OPTIMIZER)
    with pytest.raises((TypeError, ValueError)) as caught:
        step(fx.train.create(Named(), OPTIMIZER, jax.random.key(0)), (inputs, np.zeros(8)))
    assert any("anything else, a dict for example, as one" in n for n in caught.value.__notes__)


class Named(Net):
    def apply(self, params, state, x, *, train=False, key=None):
        outputs, state = super().apply(params, state, x["x"], train=train, key=key)
        return {"logits": outputs}, state


def test_what_loss_and_transform_get_is_said_where_they_fail():
    x, y = batch()
    cases = [
        ({}, "loss_fn gets what the model returns, a dict of 1 with 'logits'; take"),
        (
            {"transform": fx.data.transforms.ToTensor()},
            "transform= gets the batch's inputs whole, a dict of 1 with 'x'; for one",
        ),
    ]
    for options, note in cases:
        with pytest.raises(Exception) as caught:
            run(Named(), fx.functional.cross_entropy, ({"x": x}, y), **options)
        assert any(note in each for each in caught.value.__notes__)
    with pytest.raises(TypeError, match="positional argument") as caught:
        run(transform=lambda inputs: inputs)
    assert any(
        "transform= is called as transform(inputs, key);" in n for n in caught.value.__notes__
    )


@pytest.mark.parametrize("name", ["loss_fn", "metrics"])
def test_a_loss_that_wants_more_than_outputs_and_targets(name):
    functions = {"loss_fn": loss_fn, name: lambda outputs, targets, key: 0.0}
    step = fx.train.make_step(Net(), optimizer=OPTIMIZER, **functions)
    with pytest.raises(TypeError, match="positional argument") as caught:
        step(fresh(), batch())
    assert any(
        f"{name} is called as {name}(outputs, targets);" in n for n in caught.value.__notes__
    )


@pytest.mark.parametrize("optimizer", [fx.optim.adam, "adam", loss_fn])
def test_what_is_no_optimizer_is_refused(optimizer):
    with pytest.raises(TypeError, match="make_step: expected an optax transformation, got"):
        fx.train.make_step(Net(), loss_fn, optimizer)


@pytest.mark.parametrize("several", [{"a": OPTIMIZER, "b": OPTIMIZER}, [OPTIMIZER, OPTIMIZER]])
def test_several_optimizers_are_refused(several):
    text = f"optax transformation, got a {type(several).__name__} of 2; fx.optim.groups makes one"
    with pytest.raises(TypeError, match=f"make_step: expected an {text}"):
        fx.train.make_step(Net(), loss_fn, several)
    with pytest.raises(TypeError, match=f"train.create: expected an {text}"):
        fx.train.create(Net(), several, jax.random.key(0))


def test_evaluation_is_the_mean_over_examples_with_padding_left_out():
    ts = fresh()
    loader = Batches(50, 8)  # 50 = 6 * 8 + 2: six rows of padding
    validate = fx.train.make_eval(Net(), loss_fn, loader, metrics=accuracy)
    x, y = data(50)
    outputs, _ = Net().apply(ts.params, ts.state, x)
    values = validate(ts)
    assert values["loss"] == pytest.approx(float(loss_fn(outputs, y)), rel=1e-5)
    assert values["accuracy"] == pytest.approx(float(accuracy(outputs, y)["accuracy"]))
    assert all(type(value) is float for value in values.values())


def test_nan_in_padding_does_not_enter():
    class Ragged:
        def padded(self):
            x = np.array([[1.0], [np.nan]], np.float32)
            yield (x, x), np.array([True, False])

    class Same:
        def apply(self, params, state, x, *, train=False, key=None):
            return x, state

    validate = fx.train.make_eval(Same(), lambda o, t: jnp.mean(o), Ragged())
    assert validate(fresh()) == {"loss": 1.0}


def test_evaluation_compiles_once_and_does_not_train():
    counted = chex.assert_max_traces(loss_fn, n=3)  # of all; of some, one by one and at once
    validate = fx.train.make_eval(Net(), counted, Batches(50, 8), transform=jitter)
    ts = fresh()
    assert validate(ts) == validate(ts)
    assert not ts.params["first"]["weight"].is_deleted()


def test_predict_gives_every_example_in_order():
    ts = fresh()
    outputs, targets = fx.train.predict(Net(), ts.params, ts.state, Batches(50, 8))
    x, y = data(50)
    np.testing.assert_array_equal(targets, y)
    expected, _ = Net().apply(ts.params, ts.state, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    low, _ = fx.train.predict(Net(), ts.params, ts.state, Batches(50, 8), precision="bf16")
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, outputs, atol=0.1)
    assert not np.array_equal(low, outputs)


def test_evaluation_errors():
    class Empty:
        def padded(self):
            return iter(())

    class Summed(Net):
        def apply(self, params, state, x, *, train=False, key=None):
            return jnp.sum(x, 0), state

    ts = fresh()
    with pytest.raises(ValueError, match="the loader yielded no example to evaluate"):
        fx.train.make_eval(Net(), loss_fn, Empty())(ts)
    with pytest.raises(ValueError, match="predict: the loader yielded no batch"):
        fx.train.predict(Net(), ts.params, ts.state, Empty())
    text = r"output to have the batch of 8 as its first axis, got shape \[4\]; give each"
    with pytest.raises(ValueError, match=text):
        fx.train.make_eval(Summed(), loss_fn, Batches())(ts)
    with pytest.raises(ValueError, match=text):
        fx.train.predict(Summed(), ts.params, ts.state, Batches())
    with pytest.raises(ValueError, match="loss_fn: expected 'loss' to be a scalar"):
        fx.train.make_eval(Net(), lambda o, t: o, Batches())(ts)
    with pytest.raises(ValueError, match="expected one of 'float32'"):
        fx.train.make_eval(Net(), loss_fn, Batches(), precision="half")


class Given:
    """A model whose outputs are its inputs, and a loader of one batch of them."""

    def __init__(self, outputs, targets):
        self.batch = np.asarray(outputs, np.float32), np.asarray(targets, np.int32)

    def padded(self):
        yield self.batch, np.array([True, True, False])

    def apply(self, params, state, x, *, train=False, key=None):
        return x, state


def evaluate_given(given):
    def cross_entropy(outputs, targets):
        return fx.functional.cross_entropy(outputs, targets, ignore_index=-1)

    return fx.train.make_eval(given, cross_entropy, given)(fresh())["loss"]


def test_an_example_that_is_wholly_ignored_is_an_error_and_divergence_is_nan():
    outputs = [[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]
    assert np.isfinite(evaluate_given(Given(outputs, [0, 1, -1])))  # ignored padding
    text = (
        "the loss of 1 of 2 examples is nan, although all outputs are finite; either targets are "
        r"out of range \(classes are 0 to K - 1\): mend them; or .* return train.Mean"
    )
    for wrong in (-1, 2):  # ignored, out of range
        with pytest.raises(ValueError, match=text):
            evaluate_given(Given(outputs, [0, wrong, 0]))
    outputs[0][0] = np.nan
    assert np.isnan(evaluate_given(Given(outputs, [0, 1, 0])))
    assert np.isnan(evaluate_given(Given(outputs, [0, -1, 0])))


def test_a_mean_weighs_examples_as_one_large_batch_does():
    def loss_fn(outputs, targets):
        total = fx.functional.cross_entropy(outputs, targets, ignore_index=-1, reduction="sum")
        return fx.train.Mean(total, jnp.sum(targets != -1))

    outputs = np.random.default_rng(0).normal(size=(3, 5, 4))  # classes, then places
    targets = [[0, 1, 2, 3], [-1, -1, -1, 4], [0, 0, 0, 0]]  # the third example is padding
    given = Given(outputs, targets)
    expected = fx.functional.cross_entropy(*(x[:2] for x in given.batch), ignore_index=-1)
    found = fx.train.make_eval(given, loss_fn, given)(fresh())
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)
    given = Given(outputs, np.full((3, 4), -1))
    with pytest.raises(ValueError, match="the loss of 2 of 2 examples is nan"):
        fx.train.make_eval(given, loss_fn, given)(fresh())


WEIGHTED = [
    nn.CrossEntropyLoss(np.array([1.0, 2.0, 0.5], np.float32), label_smoothing=0.1),
    nn.CrossEntropyLoss(ignore_index=2),
    nn.NLLLoss(np.array([1.0, 2.0, 0.5], np.float32), ignore_index=0),
]


@pytest.mark.parametrize("loss", WEIGHTED, ids=repr)
def test_weights_of_classes_and_what_is_ignored_count_as_in_one_large_batch(loss):
    """In an evaluation, and in the parts of an accumulated batch."""
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(3, 3, 4)), [[0, 1, 1, 2], [2, 2, 2, 1], [0, 0, 0, 0]]
    given = Given(outputs, targets)
    expected = loss(*(x[:2] for x in given.batch))
    found = fx.train.make_eval(given, loss, given)(fresh())  # the third is padding
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)

    model, x = nn.Linear(3, 3), jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    ts = fx.train.create(model, fx.optim.sgd(0.1), jax.random.key(0))
    whole, parts = (
        fx.train.make_step(model, loss, fx.optim.sgd(0.1), accumulate=n, donate=False)(
            ts, (x, jnp.array([0, 1, 2, 2, 1, 0]))
        )
        for n in (1, 3)
    )
    (whole, means), (parts, of_parts) = whole, parts
    chex.assert_trees_all_close((whole.params, means), (parts.params, of_parts), rtol=1e-5)


def test_a_loss_that_computes_another_thing_is_called_as_it_is():
    class Focal(nn.CrossEntropyLoss):
        def forward(self, input, target):
            return jnp.mean((1 - jax.nn.softmax(input)[:, 0]) ** 2)

    given = Given(np.random.default_rng(0).normal(size=(3, 2)), [0, 1, 0])
    found = fx.train.make_eval(given, Focal(), given)(fresh())
    expected = Focal()(*(x[:2] for x in given.batch))
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)
    assert nn.remat(nn.NLLLoss()).sum_and_weight(*given.batch) is None


def test_a_sum_and_probabilities_have_their_weight():
    x, p = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3))), jnp.full((4, 3), 1 / 3)
    total, weight = nn.CrossEntropyLoss().sum_and_weight(x, p)
    assert weight == 4 and total / 4 == pytest.approx(float(nn.CrossEntropyLoss()(x, p)))
    assert nn.NLLLoss(reduction="sum").sum_and_weight(x, p) is None


def test_a_metric_of_many_examples_is_refused():
    def r2(outputs, targets):
        targets = targets.astype(jnp.float32)
        rest = jnp.sum((outputs - targets) ** 2)
        return {"r2": 1 - rest / jnp.sum((targets - jnp.mean(targets)) ** 2)}

    def check(given, metrics):
        return fx.train.make_eval(given, lambda y, t: jnp.mean(y), given, metrics=metrics)(fresh())

    given = Given([1.0, 2.0, 0.0], [0, 1, 0])
    text = "the metric 'r2' of each of 2 examples is not finite, .* in a validate of your own"
    with pytest.raises(ValueError, match=text):
        check(given, r2)
    found = check(given, lambda y, t: {"log": jnp.log(jnp.sum(t.astype(jnp.float32)))})
    assert found["log"] == -np.inf  # of one of two examples
    assert np.isnan(check(Given([np.nan, 2.0, 0.0], [0, 1, 0]), r2)["r2"])  # a diverged model


def test_a_data_set_is_no_loader():
    dataset, ts = fx.data.Dataset(*data(8)), fresh()
    text = r"a loader with padded\(\), or a list of batches, got Dataset; wrap a data set in"
    with pytest.raises(TypeError, match="make_eval: expected " + text):
        fx.train.make_eval(Net(), loss_fn, dataset)
    with pytest.raises(TypeError, match="predict: expected " + text):
        fx.train.predict(Net(), ts.params, ts.state, dataset)


def test_a_list_of_batches_is_evaluated():
    """The last one is shorter; an empty list, and a number in place of an array, are errors."""
    (x, y), ts = data(7), fresh()
    batches = [((x[:4]), y[:4]), (x[4:], y[4:])]
    listed = fx.train.make_eval(Net(), loss_fn, batches)
    whole = fx.train.make_eval(Net(), loss_fn, fx.data.Loader(fx.data.Dataset(x, y), 4))
    assert listed(ts) == pytest.approx(whole(ts), rel=1e-6)
    outputs, targets = fx.train.predict(Net(), ts.params, ts.state, batches)
    np.testing.assert_array_equal(targets, y)
    np.testing.assert_allclose(outputs, Net().apply(ts.params, ts.state, x)[0], rtol=1e-5)
    with pytest.raises(ValueError, match="make_eval: expected batches, got an empty list"):
        fx.train.make_eval(Net(), loss_fn, [])
    with pytest.raises(ValueError, match=r"batch 1 of the list to have arrays .* got 3"):
        fx.train.predict(Net(), ts.params, ts.state, [batches[0], (x, 3)])


def test_predict_needs_sequences_of_one_length():
    class TwoLengths(Given):
        def padded(self):
            for length in (4, 6):
                yield (np.zeros((2, length)), np.zeros(2)), np.ones(2, bool)

    given = TwoLengths([0], [0])
    text = r"one shape in all batches, got \[2, 4\] and \[2, 6\]; pad all .*buckets=\(length,\)"
    with pytest.raises(ValueError, match="predict: expected outputs and targets of " + text):
        fx.train.predict(given, {}, {}, given)


def right(outputs, targets):
    """The share of the places that count whose class is right; once as a count, once as a mean."""
    counted = targets != -1
    hits = (outputs.argmax(1) == targets) & counted
    share = jnp.mean(hits.any(-1), dtype=jnp.float32)
    return {"accuracy": fx.train.Mean(jnp.sum(hits), jnp.sum(counted)), "any": share}


def test_a_metric_weighs_examples_likewise():
    outputs = np.random.default_rng(0).normal(size=(3, 5, 4))
    best = outputs.argmax(1)
    targets = best.copy()
    targets[0, :3], targets[1, 1:] = -1, -1  # one of four places, and one of one, count
    targets[0, 3] = (targets[0, 3] + 1) % 5
    given = Given(outputs, targets)
    validate = fx.train.make_eval(given, lambda y, t: jnp.mean(y), given, metrics=right)
    found = validate(fresh())
    assert found["accuracy"] == found["any"] == 0.5
    targets[1] = best[1]
    given = Given(outputs, targets)
    validate = fx.train.make_eval(given, lambda y, t: jnp.mean(y), given, metrics=right)
    found = validate(fresh())  # four of the five places that count
    assert found["accuracy"] == pytest.approx(0.8) and found["any"] == 0.5
    given = Given(outputs, np.full((3, 4), -1))
    validate = fx.train.make_eval(given, lambda y, t: jnp.mean(y), given, metrics=right)
    assert np.isnan(validate(fresh())["accuracy"])


@pytest.mark.parametrize(
    "loss", [lambda y, t: (y.sum(), y.mean()), lambda y, t: fx.train.Mean(y, 1)]
)
def test_a_loss_of_another_kind_is_refused(loss):
    given = Given([[1.0, 2.0]] * 3, [0] * 3)
    text = "loss_fn: expected '(loss|total)' to be a scalar, got (a tuple of 2|shape)"
    with pytest.raises((TypeError, ValueError), match=text):
        fx.train.make_eval(given, loss, given)(fresh())


def test_a_donated_state_is_refused_by_the_step():
    step, ts, _ = make()
    step(ts, batch())
    with pytest.raises(ValueError, match="train step: .* or make the step with donate=False"):
        step(ts, batch())


def test_a_state_of_another_optimizer_is_refused():
    step = fx.train.make_step(Net(), loss_fn, optax.adam(0.1))
    ts = fx.train.create(Net(), optax.sgd(0.1, momentum=0.9), jax.random.key(0))
    text = (
        r"to be that of the step.s optimizer, but \[0\]\.count is missing, .* and 4 more; make it"
    )
    with pytest.raises(ValueError, match=text + " with train.create"):
        step(ts, batch())


def test_updates_have_the_shapes_of_parameters():
    def mean(grads, state, params=None):
        return jax.tree.map(lambda g: g.mean(0), grads), state

    step = fx.train.make_step(
        Net(), loss_fn, optax.GradientTransformation(lambda p: (), mean), donate=False
    )
    ts = fx.train.create(Net(), step.optimizer, jax.random.key(0))
    with pytest.raises(ValueError, match=r"update of .*'\] to have the parameter's shape \["):
        step(ts, batch())


def test_create_needs_a_key():
    text = r"train.create: expected a PRNG key, got 0; pass jax.random.key\(0\)"
    with pytest.raises(TypeError, match=text):
        fx.train.create(Net(), OPTIMIZER, 0)
    fx.train.create(Net(), OPTIMIZER, jax.random.PRNGKey(0))


def test_create_needs_a_model_and_an_optimizer():
    with pytest.raises(TypeError, match=r"expected a model with init\(key\), got .*Net'"):
        fx.train.create(Net, OPTIMIZER, jax.random.key(0))
    for dense, hint in ((flax.linen.Dense(3), "fx.from_flax"), (torch.nn.Linear(4, 3), "fx.port")):
        with pytest.raises(TypeError, match=f"train.create: expected a model .*{hint}"):
            fx.train.create(dense, OPTIMIZER, jax.random.key(0))
        with pytest.raises(TypeError, match=f"make_step: expected a model with apply.*{hint}"):
            fx.train.make_step(dense, loss_fn, OPTIMIZER)
    with pytest.raises(TypeError, match="expected an optax transformation, got <function adam"):
        fx.train.create(Net(), fx.optim.adam, jax.random.key(0))


def test_a_rate_below_zero():
    optimizer = fx.optim.sgd(fx.optim.cosine_annealing_lr(-1, 10))
    with pytest.raises(ValueError, match="learning rate: expected 0 or more, got -1.0 at the"):
        fx.train.create(Net(), optimizer, jax.random.key(0))


def test_the_loss_is_an_instance():
    with pytest.raises(TypeError, match=r"write an instance: nn.CrossEntropyLoss\(\)"):
        fx.train.make_step(Net(), fx.nn.CrossEntropyLoss, OPTIMIZER)


def test_steps_per_call_is_an_integer():
    with pytest.raises(TypeError, match="make_step: expected steps_per_call to be an integer, got"):
        fx.train.make_step(Net(), loss_fn, OPTIMIZER, steps_per_call=1.5)
