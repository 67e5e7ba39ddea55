import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from fx import optim

CASES = {
    "sgd": (optim.sgd, torch.optim.SGD, {"lr": 0.02}),
    "sgd_momentum": (optim.sgd, torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    "sgd_dampening": (
        optim.sgd,
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.05},
    ),
    "sgd_nesterov": (
        optim.sgd,
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    ),
    "sgd_maximize": (
        optim.sgd,
        torch.optim.SGD,
        {"lr": 0.001, "momentum": 0.5, "weight_decay": 0.5, "maximize": True},
    ),
    "adam_default": (optim.adam, torch.optim.Adam, {}),
    "adam": (
        optim.adam,
        torch.optim.Adam,
        {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.1},
    ),
    "adam_amsgrad": (
        optim.adam,
        torch.optim.Adam,
        {"lr": 0.03, "betas": (0.8, 0.9), "amsgrad": True, "weight_decay": 0.01},
    ),
    "adamw_default": (optim.adamw, torch.optim.AdamW, {}),
    "adamw": (
        optim.adamw,
        torch.optim.AdamW,
        {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True, "maximize": True},
    ),
    "rmsprop_default": (optim.rmsprop, torch.optim.RMSprop, {}),
    "rmsprop": (
        optim.rmsprop,
        torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "weight_decay": 0.1, "momentum": 0.7, "centered": True},
    ),
}


def problem():
    """A small least-squares fit, with noise in the targets so that gradients change sign."""
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=(3,))}
    return weights, rng.normal(size=(100, 8, 4)), rng.normal(size=(100, 8, 3))


def run_fx(optimizer, steps):
    weights, xs, ys = problem()

    def loss(params, x, y):
        return jnp.mean((jnp.tanh(x @ params["a"]) + params["b"] - y) ** 2)

    def step(carry, batch):
        params, opt_state = carry
        grads = jax.grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), optim.current_lr(opt_state)

    params = jax.tree.map(jnp.asarray, weights)
    start = (params, optimizer.init(params))
    (params, opt_state), rates = jax.lax.scan(step, start, (xs[:steps], ys[:steps]))
    return params, opt_state, rates


def run_torch(make, steps, scheduler=None):
    weights, xs, ys = (jax.tree.map(torch.tensor, part) for part in problem())
    a, b = (torch.nn.Parameter(weights[name]) for name in "ab")
    optimizer = make([a, b])
    schedule = scheduler(optimizer) if scheduler else None
    rates = []
    for x, y in zip(xs[:steps], ys[:steps]):
        optimizer.zero_grad()
        ((torch.tanh(x @ a) + b - y) ** 2).mean().backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule:
            schedule.step()
    return {"a": a.detach().numpy(), "b": b.detach().numpy()}, rates


@pytest.mark.parametrize("name", CASES)
def test_a_hundred_steps_equal_torchs(x64, name):
    ours, theirs, arguments = CASES[name]
    params, _, _ = run_fx(ours(**arguments), 100)
    expected, _ = run_torch(lambda parameters: theirs(parameters, **arguments), 100)
    for part in expected:
        np.testing.assert_allclose(params[part], expected[part], rtol=1e-10, atol=1e-10)


def test_a_schedule_follows_torchs_scheduler_and_can_be_read(x64):
    schedule = optim.cosine_annealing_lr(0.05, T_max=40, eta_min=1e-3)
    params, opt_state, rates = run_fx(optim.adam(schedule, weight_decay=0.1), 40)
    expected, torch_rates = run_torch(
        lambda parameters: torch.optim.Adam(parameters, 0.05, weight_decay=0.1),
        40,
        lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, 40, 1e-3),
    )
    np.testing.assert_allclose(rates, torch_rates, rtol=1e-12)
    assert float(optim.current_lr(opt_state)) == float(rates[-1])
    np.testing.assert_allclose(params["a"], expected["a"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (optim.sgd, torch.optim.SGD),
        (optim.adam, torch.optim.Adam),
        (optim.adamw, torch.optim.AdamW),
        (optim.rmsprop, torch.optim.RMSprop),
    ],
)
def test_arguments_have_torchs_names_order_and_defaults(ours, theirs):
    def positional(function, skip):
        parameters = list(inspect.signature(function).parameters.values())[skip:]
        kept = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        implementation = ("foreach", "capturable", "differentiable", "fused", "maximize")
        return [(p.name, p.default) for p in kept if p.name not in implementation]

    assert positional(ours, 0) == positional(theirs, 1)


def test_the_rate_before_the_first_step_is_that_of_the_first():
    state = optim.sgd(lambda step: 0.25 + step).init({"w": jnp.ones(2)})
    assert float(optim.current_lr(state)) == 0.25


def test_current_lr_of_other_optimizers():
    params = {"learning_rate": jnp.ones(()), "w": jnp.ones(2)}
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=optim.step_lr(0.5, 3))
    assert float(optim.current_lr(injected.init(params))) == 0.5
    assert optim.current_lr(optax.adam(0.1).init(params)) is None
    groups = optax.partition(
        {"slow": optim.sgd(0.125), "fast": optim.adam(0.5)},
        {"learning_rate": "slow", "w": "fast"},
    )
    assert float(optim.current_lr(groups.init(params))) in (0.125, 0.5)
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optim.adam(0.5))
    assert float(optim.current_lr(clipped.init(params))) == 0.5


def test_the_learning_rate_may_be_mapped_over():
    def first_update(lr):
        optimizer = optim.adam(lr)
        params = jnp.ones(3)
        return optimizer.update(jnp.ones(3), optimizer.init(params), params)[0]

    updates = jax.vmap(first_update)(jnp.asarray([0.1, 0.2]))
    np.testing.assert_allclose(updates[:, 0], [-0.1, -0.2], rtol=1e-5)


def test_low_precision_parameters_keep_their_dtype():
    params = jnp.ones(3, jnp.bfloat16)
    for make in (
        optim.sgd,
        optim.adam,
        optim.adamw,
        optim.rmsprop,
        lambda: optim.adam(amsgrad=True),
        lambda: optim.sgd(0.1, 0.9, 0.1),
    ):
        optimizer = make()
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params)
        assert updates.dtype == jnp.bfloat16
        assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, after)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.sgd(-1.0), "sgd: expected lr >= 0, got -1.0"),
        (lambda: optim.sgd(0.1, momentum=-0.5), "sgd: expected momentum >= 0, got -0.5"),
        (lambda: optim.sgd(0.1, nesterov=True), "expected momentum > 0 and dampening == 0"),
        (lambda: optim.adam(0.1, (0.9, 1.0)), r"adam: expected betas in \[0, 1\), got \(0.9, 1.0"),
        (lambda: optim.adam(0.1, eps=-1.0), "adam: expected eps >= 0, got -1.0"),
        (lambda: optim.adamw(weight_decay=-1.0), "adamw: expected weight_decay >= 0, got -1.0"),
        (lambda: optim.rmsprop(alpha=float("nan")), "rmsprop: expected alpha >= 0, got nan"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
