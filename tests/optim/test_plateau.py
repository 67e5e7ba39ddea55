import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fx import checkpoint, optim, train
from tests.optim.wrapping import Net, check_in_training, mse

PARAMS = {"w": jnp.ones(2)}

arguments = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["min", "max"]),
        "factor": st.sampled_from([0.5, 0.1, 0.0, 0.9]),
        "patience": st.integers(0, 3),
        "threshold": st.sampled_from([0.0, 1e-4, 0.1, 0.5]),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "cooldown": st.integers(0, 3),
        "min_lr": st.sampled_from([0.0, 0.01, 0.3]),
        "eps": st.sampled_from([0.0, 1e-8, 0.05]),
    },
)
# Thresholds and metrics that land on one another show which comparison is strict.
metrics = st.lists(
    st.sampled_from([0.0, 0.5, 0.55, 0.9, 1.0, 1.1, 2.0, -1.0, float("nan"), float("inf")])
    | st.floats(-3, 3),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(arguments=arguments, metrics=metrics)
def test_every_sequence_of_metrics_gives_torchs_rates(arguments, metrics):
    with jax.enable_x64(True):
        theirs = torch.optim.SGD([torch.zeros(1)], 0.5)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **arguments)
        opt_state = optim.reduce_lr_on_plateau(optim.sgd(0.5), **arguments).init(PARAMS)
        for value in metrics:
            scheduler.step(value)
            opt_state = optim.observe(opt_state, value)
            rate = theirs.param_groups[0]["lr"]
            np.testing.assert_allclose(optim.current_lr(opt_state), rate, rtol=1e-12)


def reducing(optimizer, **arguments):
    return optim.reduce_lr_on_plateau(optimizer, patience=0, factor=0.5, **arguments)


def plateau(opt_state):
    """One reduction."""
    return optim.observe(optim.observe(opt_state, 1.0), 1.0)


def test_updates_shrink_with_the_rate_and_nothing_else_changes():
    optimizer = reducing(optim.adam(0.1))
    opt_state = optimizer.init(PARAMS)
    plain, _ = optimizer.update(PARAMS, opt_state, PARAMS)
    reduced_state = plateau(opt_state)
    assert jax.tree.structure(reduced_state) == jax.tree.structure(opt_state)
    kinds = [jax.tree.map(lambda x: x.aval, state) for state in (opt_state, reduced_state)]
    assert kinds[0] == kinds[1]  # weak types too: no second compilation
    reduced, after = optimizer.update(PARAMS, reduced_state, PARAMS)
    np.testing.assert_array_equal(reduced["w"], plain["w"] * 0.5)
    assert float(optim.current_lr(after)) == np.float32(0.1) * np.float32(0.5)


def test_it_reduces_a_schedule():
    optimizer = reducing(optim.sgd(optim.step_lr(1.0, 1, 0.5)))
    opt_state = plateau(optimizer.init(PARAMS))
    for expected in (0.5, 0.25, 0.125):
        _, opt_state = optimizer.update(PARAMS, opt_state, PARAMS)
        assert float(optim.current_lr(opt_state)) == expected


def test_each_group_may_have_its_own():
    small = reducing(optim.sgd(1.0), min_lr=0.6)
    optimizer = optim.groups({"a": small}, default=reducing(optim.sgd(0.1)))
    opt_state = plateau(optimizer.init({"a": jnp.ones(1), "b": jnp.ones(1)}))
    rates = {name: round(float(rate), 6) for name, rate in optim.current_lrs(opt_state).items()}
    assert rates == {"a": 0.6, "default": 0.05}


def test_around_groups_and_around_another():
    groups = optim.groups({"a": optim.sgd(1.0)}, default=optim.sgd(0.1))
    optimizer = reducing(reducing(groups))
    opt_state = plateau(optimizer.init({"a": jnp.ones(1), "b": jnp.ones(1)}))
    rates = {name: round(float(rate), 6) for name, rate in optim.current_lrs(opt_state).items()}
    assert rates == {"a": 0.25, "default": 0.025}
    assert float(optim.current_lr(opt_state)) == 0.25


def test_a_plain_optax_optimizer():
    optimizer = optax.chain(optax.clip(1.0), reducing(optax.sgd(0.5)))
    opt_state = plateau(optimizer.init(PARAMS))
    updates, _ = optimizer.update(PARAMS, opt_state, PARAMS)
    np.testing.assert_array_equal(updates["w"], [-0.25, -0.25])
    assert optim.current_lr(opt_state) is None


def test_injected_hyperparameters_are_scaled_too():
    optimizer = reducing(optax.inject_hyperparams(optax.sgd)(learning_rate=0.5), min_lr=0.4)
    assert float(optim.current_lr(plateau(optimizer.init(PARAMS)))) == np.float32(0.4)


def test_a_state_without_a_plateau_comes_back_as_it_is():
    opt_state = optim.adam().init(PARAMS)
    assert jax.tree.all(jax.tree.map(lambda a, b: a is b, optim.observe(opt_state, 1.0), opt_state))


def test_in_training_and_in_a_checkpoint(tmp_path):
    optimizer = reducing(optim.adam(0.01))
    ts = check_in_training(optimizer)
    ts = ts.replace(opt_state=plateau(ts.opt_state))
    checkpoint.save(tmp_path, ts, {})
    back, _ = checkpoint.restore(tmp_path, like=train.create(Net(), optimizer, jax.random.key(1)))
    assert float(optim.current_lr(back.opt_state)) == np.float32(0.01) * np.float32(0.5)
    step = train.make_step(Net(), mse, optimizer)
    _, metrics = step(back, (jnp.ones((8, 4)), jnp.ones((8, 2))))
    assert float(metrics["learning_rate"]) == np.float32(0.01) * np.float32(0.5)


def test_seeds_have_their_own_plateaus():
    optimizer = reducing(optim.sgd(1.0))
    states = jax.vmap(optimizer.init)({"w": jnp.ones((2, 2))})
    for values in ([1.0, 1.0], [1.0, 0.5]):
        states = jax.vmap(optim.observe)(states, jnp.array(values))
    np.testing.assert_array_equal(optim.current_lr(states), [0.5, 1.0])


@pytest.mark.parametrize(
    "wrong, error, text",
    [
        ({"factor": 1.0}, ValueError, r"reduce_lr_on_plateau: expected factor in \[0, 1\), got 1"),
        ({"mode": "up"}, ValueError, 'expected mode "min" or "max", got \'up\''),
        ({"threshold_mode": "x"}, ValueError, 'expected threshold_mode "rel" or "abs", got'),
        ({"min_lr": [0.1]}, TypeError, "expected min_lr as one number, got a list; for one per"),
    ],
)
def test_errors(wrong, error, text):
    with pytest.raises(error, match=text):
        optim.reduce_lr_on_plateau(optim.sgd(0.1), **wrong)


def test_errors_of_use():
    with pytest.raises(ValueError, match="min_lr expected an optimizer whose state keeps its lear"):
        optim.reduce_lr_on_plateau(optax.sgd(0.1), min_lr=0.1).init(PARAMS)
    opt_state = reducing(optim.sgd(0.1)).init(PARAMS)
    with pytest.raises(
        ValueError, match=r"observe: expected the metric as a scalar, got shape \[2"
    ):
        optim.observe(opt_state, jnp.ones(2))
