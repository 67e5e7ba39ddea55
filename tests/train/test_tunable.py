"""An optimizer that reads an argument from its state."""

import jax
import jax.numpy as jnp
import pytest

import fx
from fx.train.tunable import tunable
from tests.train.tiny_run import Batches, Net, assert_same_bits, loss_fn


def test_tunable_equals_the_optimizer_inside():
    params, grads = {"w": jnp.ones(3)}, {"w": jnp.array([1.0, -2.0, 0.5])}
    plain, wrapped = fx.optim.adamw(0.1), tunable(fx.optim.adamw, 0.1)
    state, other = plain.init(params), wrapped.init(params)
    for _ in range(3):
        one, state = plain.update(grads, state, params)
        two, other = wrapped.update(grads, other, params)
        assert_same_bits(one, two)
    assert float(fx.optim.current_lr(other)) == pytest.approx(0.1)
    both = tunable(lambda v: fx.optim.sgd(v["lr"], v["momentum"]), {"lr": 0.5, "momentum": 0.0})
    assert both.init(params).value["lr"].dtype == jnp.float32


@pytest.mark.parametrize("value", [(), jnp.ones(2), None])
def test_tunable_takes_numbers(value):
    with pytest.raises(ValueError, match="tunable: expected value to be a number, or a tree of th"):
        tunable(fx.optim.sgd, value)


def test_rates_that_the_step_would_not_read_are_refused():
    def states(optimizer):
        return [fx.train.create(Net(), optimizer(lr), jax.random.key(0)) for lr in (0.1, 0.02)]

    def fit(optimizer, states):
        step = fx.train.make_step(Net(), loss_fn, optimizer(0.5))
        return fx.train.fit_many(step, states, Batches(), epochs=1, how="loop", progress=False)

    with pytest.raises(ValueError, match="rate 0.1 where run 1 has 0.02; the step would train all"):
        fit(fx.optim.sgd, states(fx.optim.sgd))
    runs = fit(lambda lr: tunable(fx.optim.sgd, lr), states(lambda lr: tunable(fx.optim.sgd, lr)))
    rates = [float(result.history[-1]["learning_rate"]) for result in runs.results]
    assert rates == pytest.approx([0.1, 0.02])


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_a_run_goes_on_with_the_value_that_it_is_given_and_under_its_name(how, tmp_path):
    def fit(rates, **options):
        make = lambda lr: tunable(fx.optim.sgd, lr)  # noqa: E731
        ts = [fx.train.create(Net(), make(lr), jax.random.key(0)) for lr in rates]
        step = fx.train.make_step(Net(), loss_fn, make(0.5))
        options = {"how": how, "progress": False, "out": tmp_path, **options}
        return fx.train.fit_many(step, ts, Batches(), **options)

    fit((0.1, 0.02), names=("high", "low"), epochs=1)
    runs = fit((0.01, 0.002), names=("high", "low"), epochs=2, resume=True)
    rates = [[row["learning_rate"] for row in result.history] for result in runs.results]
    assert rates == [pytest.approx([0.1, 0.01]), pytest.approx([0.02, 0.002])]
    with pytest.raises(ValueError, match="are called 'high', 'low', and not 'low', 'high'; give"):
        fit((0.01, 0.002), names=("low", "high"), epochs=3, resume=True)
    with pytest.raises(FileExistsError):
        fit((0.01, 0.002), epochs=3)
    assert fit((0.01, 0.002), names=("high", "low"), epochs=2, resume=True).names == ("high", "low")
