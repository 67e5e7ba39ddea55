import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim import lr_scheduler as L
from torch.optim import swa_utils

from fx import optim

STEPS = 200
# torch multiplies the last rate at each step, so that its rounding adds up.
RECURSIVE = {"rtol": 2e-12, "atol": 1e-15}


def torch_rates(make, base=0.05, steps=STEPS, every=1):
    optimizer = torch.optim.SGD([torch.zeros(1)], base)
    scheduler = make(optimizer)
    values = []
    for step in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            scheduler.step()
    return np.asarray(values)


def rates(schedule, steps=STEPS):
    return jax.jit(jax.vmap(schedule))(jnp.arange(steps, dtype=jnp.int32))


SEQUENCES = {
    "warm_exponential": (
        [(optim.constant_lr, L.ConstantLR, {"factor": 0.1, "total_iters": 20})]
        + [(optim.exponential_lr, L.ExponentialLR, {"gamma": 0.97})],
        [20],
    ),
    "three": (
        [(optim.linear_lr, L.LinearLR, {"start_factor": 0.01, "total_iters": 15})]
        + [(optim.cosine_annealing_lr, L.CosineAnnealingLR, {"T_max": 100, "eta_min": 1e-4})]
        + [(optim.step_lr, L.StepLR, {"step_size": 9, "gamma": 0.7})],
        [15, 115],
    ),
    "restarts_last": (
        [(optim.polynomial_lr, L.PolynomialLR, {"total_iters": 30})]
        + [(optim.cosine_annealing_warm_restarts, L.CosineAnnealingWarmRestarts, {"T_0": 11})],
        [25],
    ),
    "alone": ([(optim.lambda_lr, L.LambdaLR, {"lr_lambda": lambda n: 0.9**n})], []),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequential_lr_is_torchs(x64, name):
    parts, milestones = SEQUENCES[name]
    ours = optim.sequential_lr([make(0.05, **a) for make, _, a in parts], milestones)
    expected = torch_rates(
        lambda o: L.SequentialLR(o, [t(o, **a) for _, t, a in parts], milestones)
    )
    np.testing.assert_allclose(rates(ours), expected, **RECURSIVE)


def test_chained_scheduler_is_torchs(x64):
    def make(o):
        parts = [L.ConstantLR(o, 0.3, 20), L.ExponentialLR(o, 0.99), L.StepLR(o, 30, 0.5)]
        return L.ChainedScheduler([*parts, L.CosineAnnealingLR(o, STEPS)], o)

    parts = [
        optim.constant_lr(0.05, 0.3, 20),
        optim.exponential_lr(0.05, 0.99),
        optim.step_lr(0.05, 30, 0.5),
        optim.cosine_annealing_lr(0.05, STEPS),
    ]
    np.testing.assert_allclose(
        rates(optim.chained_scheduler(parts, 0.05)), torch_rates(make), **RECURSIVE
    )


def test_per_epoch_is_a_torch_scheduler_stepped_once_per_epoch(x64):
    schedule = optim.per_epoch(optim.cosine_annealing_lr(0.05, 20), 10)
    expected = torch_rates(lambda o: L.CosineAnnealingLR(o, 20), every=10)
    np.testing.assert_allclose(rates(schedule), expected, **RECURSIVE)


def test_warmup_with_a_cosine_or_a_line_is_a_torch_sequence(x64):
    def make(second):
        return lambda o: L.SequentialLR(o, [L.LinearLR(o, 0.01, 1.0, 30), second(o)], [30])

    expected = torch_rates(make(lambda o: L.CosineAnnealingLR(o, STEPS - 30, 1e-4)))
    ours = rates(optim.warmup_cosine_lr(0.05, 30, STEPS, eta_min=1e-4))
    np.testing.assert_allclose(ours, expected, **RECURSIVE)
    expected = torch_rates(make(lambda o: L.LinearLR(o, 1.0, 0.1, STEPS - 30)))
    ours = rates(optim.warmup_linear_lr(0.05, 30, STEPS, end_factor=0.1))
    np.testing.assert_allclose(ours, expected, **RECURSIVE)


def test_after_its_end_a_warmup_schedule_stays(x64):
    schedule = optim.warmup_cosine_lr(0.05, 30, STEPS, eta_min=1e-4)
    np.testing.assert_allclose(schedule(jnp.array([STEPS, STEPS + 100])), 1e-4, rtol=1e-12)


def test_a_sequence_into_swa_is_torchs(x64):
    """torch's SWALR starts from the rate that it finds."""
    cosine = optim.cosine_annealing_lr(0.05, 150)
    ours = optim.sequential_lr(
        [cosine, optim.swa_lr(float(cosine(100)), 0.02, anneal_epochs=20)], [100]
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.05)
    scheduler, swa, expected = L.CosineAnnealingLR(optimizer, 150), None, []
    for step in range(STEPS):
        if step == 100:
            swa = swa_utils.SWALR(optimizer, 0.02, anneal_epochs=20)
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        (swa or scheduler).step()
    np.testing.assert_allclose(rates(ours), expected, **RECURSIVE)


@pytest.mark.parametrize("kind", ["fx", "optax", "adam"])
def test_cycled_momentum_trains_as_in_torch(x64, kind):
    """A momentum schedule goes into an optimizer by optax.inject_hyperparams."""
    steps, start = 40, np.array([1.0, -2.0, 0.5])
    weight = torch.nn.Parameter(torch.tensor(start))
    if kind == "adam":
        theirs = torch.optim.Adam([weight], 0.1)
        make, name = optax.adam, "b1"
    else:
        theirs = torch.optim.SGD([weight], 0.1, momentum=0.9)
        make, name = optim.sgd if kind == "fx" else optax.sgd, "momentum"
    scheduler = L.OneCycleLR(theirs, 0.1, steps)
    momentum = optim.one_cycle_momentum(total_steps=steps)
    ours = optax.inject_hyperparams(make)(optim.one_cycle_lr(0.1, steps), **{name: momentum})
    params = jnp.asarray(start)
    with jax.numpy_dtype_promotion("standard"):
        opt_state = ours.init(params)
        for _ in range(steps):
            theirs.zero_grad()
            (weight**4).sum().backward()
            rate = theirs.param_groups[0]["lr"]
            theirs.step()
            scheduler.step()
            updates, opt_state = ours.update(4 * params**3, opt_state, params)
            params = optax.apply_updates(params, updates)
            np.testing.assert_allclose(optim.current_lr(opt_state), rate, rtol=1e-12)
    np.testing.assert_allclose(params, weight.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda s: optim.sequential_lr([], []), "schedulers and one milestone fewer, got 0 and 0"),
        (lambda s: optim.sequential_lr([s, s], []), "one milestone fewer, got 2 and 0"),
        (lambda s: optim.sequential_lr([s, s, s], [5, 3]), r"milestones that rise, got \[5, 3\]"),
        (lambda s: optim.chained_scheduler([], 0.1), "expected at least one schedule, got none"),
        (
            lambda s: optim.chained_scheduler([s], 0.0),
            "chained_scheduler: expected lr > 0, got 0.0",
        ),
        (lambda s: optim.per_epoch(s, 0), "expected steps_per_epoch of at least 1 step, got 0"),
        (
            lambda s: optim.warmup_cosine_lr(0.1, 5, 5),
            "warmup_steps below total_steps, got 5 and 5",
        ),
        (lambda s: optim.warmup_linear_lr(0.1, 0, 5), "expected warmup_steps of at least 1 step"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make(optim.exponential_lr(0.1, 0.9))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.per_epoch(0.1, 3), "per_epoch: expected a function of the step, got float"),
        (lambda: optim.sequential_lr([0.1], []), "sequential_lr: expected a function of the step"),
        (lambda: optim.chained_scheduler([0.1], 0.1), "chained_scheduler: expected a function of"),
    ],
)
def test_wrong_kinds(make, text):
    with pytest.raises(TypeError, match=text):
        make()
