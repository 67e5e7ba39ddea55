import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler, swa_utils

from fx import optim

STEPS = 300
# torch multiplies the last rate at each step, so that its rounding adds up: 300 steps of a few
# units in the last place each, and the differences that cancel where a cosine is near its end.
RECURSIVE = {"rtol": 2e-12, "atol": 1e-15}

CASES = {
    "constant": (optim.constant_lr, lr_scheduler.ConstantLR, {"factor": 0.3, "total_iters": 70}),
    "constant_default": (optim.constant_lr, lr_scheduler.ConstantLR, {}),
    "linear": (
        optim.linear_lr,
        lr_scheduler.LinearLR,
        {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 110},
    ),
    "linear_default": (optim.linear_lr, lr_scheduler.LinearLR, {}),
    "linear_down": (
        optim.linear_lr,
        lr_scheduler.LinearLR,
        {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 200},
    ),
    "polynomial": (
        optim.polynomial_lr,
        lr_scheduler.PolynomialLR,
        {"total_iters": 250, "power": 2.5},
    ),
    "polynomial_default": (optim.polynomial_lr, lr_scheduler.PolynomialLR, {}),
    "exponential": (optim.exponential_lr, lr_scheduler.ExponentialLR, {"gamma": 0.93}),
    "exponential_up": (optim.exponential_lr, lr_scheduler.ExponentialLR, {"gamma": 1.01}),
    "step": (optim.step_lr, lr_scheduler.StepLR, {"step_size": 40, "gamma": 0.3}),
    "step_default": (optim.step_lr, lr_scheduler.StepLR, {"step_size": 90}),
    "multi_step": (
        optim.multi_step_lr,
        lr_scheduler.MultiStepLR,
        {"milestones": [90, 30, 30, 140], "gamma": 0.5},
    ),
    "multi_step_none": (optim.multi_step_lr, lr_scheduler.MultiStepLR, {"milestones": []}),
    "cosine": (
        optim.cosine_annealing_lr,
        lr_scheduler.CosineAnnealingLR,
        {"T_max": 100, "eta_min": 1e-3},
    ),
    "cosine_default": (optim.cosine_annealing_lr, lr_scheduler.CosineAnnealingLR, {"T_max": 300}),
    "lambda": (optim.lambda_lr, lr_scheduler.LambdaLR, {"lr_lambda": lambda n: 0.95**n / (1 + n)}),
    "multiplicative": (
        optim.multiplicative_lr,
        lr_scheduler.MultiplicativeLR,
        {"lr_lambda": lambda n: 1 - 0.5 / (1 + n)},
    ),
    "restarts": (
        optim.cosine_annealing_warm_restarts,
        lr_scheduler.CosineAnnealingWarmRestarts,
        {"T_0": 10, "T_mult": 2, "eta_min": 1e-3},
    ),
    "restarts_alike": (
        optim.cosine_annealing_warm_restarts,
        lr_scheduler.CosineAnnealingWarmRestarts,
        {"T_0": 37},
    ),
    "restarts_thrice": (
        optim.cosine_annealing_warm_restarts,
        lr_scheduler.CosineAnnealingWarmRestarts,
        {"T_0": 1, "T_mult": 3},
    ),
    "swa_cos": (optim.swa_lr, swa_utils.SWALR, {"swa_lr": 0.2, "anneal_epochs": 50}),
    "swa_linear": (
        optim.swa_lr,
        swa_utils.SWALR,
        {"swa_lr": 0.002, "anneal_epochs": 25, "anneal_strategy": "linear"},
    ),
    "swa_at_once": (optim.swa_lr, swa_utils.SWALR, {"swa_lr": 0.02, "anneal_epochs": 0}),
}
CYCLIC = {
    "triangular": {"step_size_up": 20},
    "down": {"step_size_up": 20, "step_size_down": 33},
    "triangular2": {"step_size_up": 13, "mode": "triangular2"},
    "exp_range": {"step_size_up": 30, "step_size_down": 7, "mode": "exp_range", "gamma": 0.99},
    "by_cycle": {"step_size_up": 15, "scale_fn": lambda cycle: 1 / (5 ** (cycle * 0.01))},
    "by_step": {
        "step_size_up": 15,
        "scale_fn": lambda step: 0.999**step,
        "scale_mode": "iterations",
    },
    "default": {},
}
ONE_CYCLE = {
    "default": {"total_steps": STEPS},
    "epochs": {"epochs": 10, "steps_per_epoch": 30, "pct_start": 0.27},
    "linear": {"total_steps": STEPS, "anneal_strategy": "linear", "div_factor": 10.0},
    "three": {"total_steps": STEPS, "three_phase": True, "final_div_factor": 1e2},
    "three_linear": {
        "total_steps": STEPS,
        "three_phase": True,
        "anneal_strategy": "linear",
        "pct_start": 0.333,
    },
    "only_down": {"total_steps": STEPS, "pct_start": 0.0},
    "only_up": {"total_steps": STEPS, "pct_start": 1.0},
}
NO_MOMENTUM = ("div_factor", "final_div_factor")


def torch_rates(make, base=0.05, steps=STEPS, read="lr"):
    """What torch's scheduler sets, called as torch programs call it."""
    optimizer = torch.optim.SGD([torch.zeros(1)], base, momentum=0.5)
    scheduler = make(optimizer)
    values = []
    for step in range(steps):
        values.append(optimizer.param_groups[0][read])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return np.asarray(values)


def rates(schedule, steps=STEPS):
    """Every value, the step traced."""
    return jax.jit(jax.vmap(schedule))(jnp.arange(steps, dtype=jnp.int32))


@pytest.mark.parametrize("name", CASES)
def test_every_value_is_torchs(x64, name):
    ours, theirs, arguments = CASES[name]
    expected = torch_rates(lambda optimizer: theirs(optimizer, **arguments))
    schedule = ours(0.05, **arguments)
    np.testing.assert_allclose(rates(schedule), expected, **RECURSIVE)
    some = [0, 1, 37, STEPS - 1]
    np.testing.assert_allclose([float(schedule(s)) for s in some], expected[some], **RECURSIVE)


@pytest.mark.parametrize("name", CYCLIC)
def test_cyclic_lr_and_its_momentum_are_torchs(x64, name):
    arguments = CYCLIC[name]

    def make(optimizer):
        return lr_scheduler.CyclicLR(optimizer, 0.01, 0.07, **arguments)

    np.testing.assert_allclose(
        rates(optim.cyclic_lr(0.01, 0.07, **arguments)), torch_rates(make), **RECURSIVE
    )
    np.testing.assert_allclose(
        rates(optim.cyclic_momentum(**arguments)), torch_rates(make, read="momentum"), **RECURSIVE
    )


@pytest.mark.parametrize("name", ONE_CYCLE)
def test_one_cycle_lr_and_its_momentum_are_torchs(x64, name):
    arguments = ONE_CYCLE[name]

    def make(optimizer):
        return lr_scheduler.OneCycleLR(optimizer, 0.3, **arguments)

    schedule = optim.one_cycle_lr(0.3, **arguments)
    np.testing.assert_allclose(rates(schedule), torch_rates(make), **RECURSIVE)
    assert float(schedule(STEPS + 50)) == float(schedule(STEPS - 1))
    momentum = {k: v for k, v in arguments.items() if k not in NO_MOMENTUM}
    np.testing.assert_allclose(
        rates(optim.one_cycle_momentum(**momentum)), torch_rates(make, read="momentum"), **RECURSIVE
    )


def test_one_cycle_where_torch_divides_by_zero():
    """The way up has one step: it is at the top."""
    schedule = optim.one_cycle_lr(0.5, 10, pct_start=0.1)
    with pytest.raises(ZeroDivisionError):
        torch_rates(lambda o: lr_scheduler.OneCycleLR(o, 0.5, 10, pct_start=0.1), steps=2)
    assert float(schedule(0)) == 0.5 and 0 < float(schedule(1)) < 0.5


def test_a_multiplicative_lr_of_known_length_may_use_any_python(x64):
    def factor(step):
        return 0.5 if step in (3, 50) else 0.99

    expected = torch_rates(lambda o: lr_scheduler.MultiplicativeLR(o, factor))
    schedule = optim.multiplicative_lr(0.05, factor, total_iters=STEPS)
    np.testing.assert_allclose(rates(schedule), expected, **RECURSIVE)
    assert float(schedule(STEPS + 100)) == float(schedule(STEPS))


def table(full):
    """Schedules over many arguments: the whole table marked `full`."""
    rng = np.random.default_rng(0)
    for case in range(25):
        t, u = (int(x) for x in rng.integers(1, 120, 2))
        f, g = (float(x) for x in rng.uniform(0.05, 1, 2))
        mult, power = int(rng.integers(1, 5)), float(rng.uniform(0.2, 4))
        yield from [
            ("constant", {"factor": f, "total_iters": t}),
            ("linear", {"start_factor": f, "end_factor": g, "total_iters": t}),
            ("polynomial", {"total_iters": t, "power": power}),
            ("exponential", {"gamma": 0.9 + f / 10}),
            ("step", {"step_size": t, "gamma": f}),
            ("multi_step", {"milestones": [t, u, t + u], "gamma": f}),
            ("cosine", {"T_max": t, "eta_min": f * 0.05}),
            ("restarts", {"T_0": t, "T_mult": mult, "eta_min": f * 0.05}),
            ("swa_cos", {"swa_lr": f, "anneal_epochs": t}),
        ]
        if not full and case == 1:
            return


def check_table(cases):
    for name, arguments in cases:
        ours, theirs, _ = CASES[name]
        expected = torch_rates(lambda optimizer: theirs(optimizer, **arguments))
        # Where torch's recursion divides by a cosine near 0 or by what is left of a line, one
        # step's rounding is multiplied by the square of the length.
        np.testing.assert_allclose(
            rates(ours(0.05, **arguments)), expected, rtol=1e-10, atol=1e-13, err_msg=f"{arguments}"
        )


def test_many_arguments_are_torchs(x64):
    check_table(table(full=False))


@pytest.mark.full
def test_very_many_arguments_are_torchs(x64):
    check_table(table(full=True))


TINY = {
    "one_cycle": lambda: optim.one_cycle_lr(0.05, total_steps=25),
    "one_cycle_momentum": lambda: optim.one_cycle_momentum(total_steps=25),
    "cyclic": lambda: optim.cyclic_lr(0.01, 0.05, 5, mode="exp_range", gamma=0.9),
    "cyclic_momentum": lambda: optim.cyclic_momentum(step_size_up=5, mode="triangular2"),
    "table": lambda: optim.multiplicative_lr(0.05, lambda n: 0.9, total_iters=10),
    **{name: lambda case=case: case[0](0.05, **case[2]) for name, case in CASES.items()},
}


@pytest.mark.parametrize("name", TINY)
def test_a_schedule_is_float32_alone_traced_and_for_many_steps_at_once(name):
    schedule = TINY[name]()
    steps = jnp.array([0, 3, 20], jnp.int32)
    traced = jax.jit(jax.vmap(schedule))(steps)
    assert traced.dtype == jnp.float32 and traced.shape == (3,)
    np.testing.assert_allclose(traced[1], schedule(3), rtol=1e-6)
    assert schedule(3).dtype == jnp.float32
    if name != "multiplicative":  # a product without an end wants one step at a time
        np.testing.assert_allclose(schedule(steps), traced, rtol=1e-6)


MILLION = 1_000_000
LONG = {
    "linear": lambda: optim.linear_lr(0.1, 0.01, 1.0, MILLION),
    "polynomial": lambda: optim.polynomial_lr(0.1, MILLION, 2.0),
    "exponential": lambda: optim.exponential_lr(0.1, 0.99999),
    "step": lambda: optim.step_lr(0.1, 100, 0.9993),
    "multi_step": lambda: optim.multi_step_lr(0.1, [10, 300_000, 999_999], 0.1),
    "multiplicative": lambda: optim.multiplicative_lr(0.1, lambda n: 1 - 1e-5, total_iters=10_000),
    "cosine": lambda: optim.cosine_annealing_lr(0.1, MILLION),
    "cosine_short": lambda: optim.cosine_annealing_lr(0.1, 7, 1e-3),
    "restarts": lambda: optim.cosine_annealing_warm_restarts(0.1, 1000, 2),
    "restarts_alike": lambda: optim.cosine_annealing_warm_restarts(0.1, 77),
    "cyclic": lambda: optim.cyclic_lr(0.001, 0.1, 77, 55),
    "exp_range": lambda: optim.cyclic_lr(0.001, 0.1, 77, mode="exp_range", gamma=0.999995),
    "one_cycle": lambda: optim.one_cycle_lr(0.1, MILLION),
    "one_cycle_linear": lambda: optim.one_cycle_lr(0.1, MILLION, anneal_strategy="linear"),
    "three_phase": lambda: optim.one_cycle_lr(0.1, MILLION, three_phase=True),
    "warmup_cosine": lambda: optim.warmup_cosine_lr(0.1, 10_000, MILLION),
    "warmup_linear": lambda: optim.warmup_linear_lr(0.1, 10_000, MILLION),
    "per_epoch": lambda: optim.per_epoch(optim.step_lr(0.1, 30), 391),
}


@pytest.mark.parametrize("name", LONG)
def test_float32_is_accurate_to_a_million_steps(name):
    """Also where little of the rate is left, one step before the end."""
    steps = np.array([0, 1, 999, 300_001, 654_321, 999_990, 999_998, 999_999], np.int32)
    with jax.enable_x64(True):
        exact = np.asarray(jax.vmap(LONG[name]())(jnp.asarray(steps)))
    single = jax.vmap(LONG[name]())(jnp.asarray(steps))
    assert single.dtype == jnp.float32
    # 1e-6 is 16 roundings of float32; what differs is below float32's smallest normal number.
    np.testing.assert_allclose(single, exact, rtol=1e-6, atol=1e-37)


def test_a_rate_may_be_an_array_per_seed_and_to_differentiate_by():
    def at_ten(lr):
        return optim.one_cycle_lr(lr, 30)(10) + optim.warmup_cosine_lr(lr, 5, 30)(10)

    lrs = jnp.array([0.1, 0.2])
    np.testing.assert_allclose(jax.vmap(at_ten)(lrs), [at_ten(0.1), at_ten(0.2)], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(at_ten)(0.1), at_ten(0.1) / 0.1, rtol=1e-5)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.cosine_annealing_lr(0.1, 0), "cosine_annealing_lr: expected T_max of at"),
        (lambda: optim.cosine_annealing_lr(0.1, 1.5), "T_max as a whole number of steps, got 1.5"),
        (lambda: optim.step_lr(0.1, 0), "step_lr: expected step_size of at least 1 step, got 0"),
        (lambda: optim.linear_lr(0.1, total_iters=0), "linear_lr: expected total_iters of at"),
        (lambda: optim.linear_lr(0.1, 0.0), r"linear_lr: expected start_factor in \(0, 1\], got"),
        (lambda: optim.linear_lr(0.1, 0.5, 2.0), r"expected end_factor in \[0, 1\], got 2.0"),
        (lambda: optim.constant_lr(0.1, -1.0), r"constant_lr: expected factor in \[0, 1\], got"),
        (lambda: optim.polynomial_lr(0.1, 0), "polynomial_lr: expected total_iters of at least 1"),
        (lambda: optim.multi_step_lr(0.1, [-1]), "milestones of at least 0 steps, got -1"),
        (lambda: optim.cosine_annealing_warm_restarts(0.1, 0), "expected T_0 of at least 1 step"),
        (lambda: optim.cosine_annealing_warm_restarts(0.1, 1, 0), "expected T_mult of at least 1"),
        (lambda: optim.cyclic_lr(0.1, 0.2, mode="square"), 'expected mode "triangular", "tri'),
        (lambda: optim.cyclic_momentum(scale_mode="x"), 'scale_mode "cycle" or "iterations"'),
        (lambda: optim.one_cycle_lr(0.1), "expected total_steps, or epochs and steps_per_epoch"),
        (lambda: optim.one_cycle_lr(0.1, 9, pct_start=2), r"expected pct_start in \[0, 1\], got 2"),
        (lambda: optim.one_cycle_lr(0.1, 9, anneal_strategy="x"), 'anneal_strategy "cos" or "lin'),
        (lambda: optim.swa_lr(0.1, 0.1, -1), "expected anneal_epochs of at least 0 steps, got -1"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.step_lr(0.1, "3"), "expected step_size as a number of steps, got str"),
        (lambda: optim.lambda_lr(0.1, 0.5), "lambda_lr: expected lr_lambda as a function of the"),
        (lambda: optim.multiplicative_lr(0.1, 0.5), "multiplicative_lr: expected lr_lambda as a"),
    ],
)
def test_wrong_kinds(make, text):
    with pytest.raises(TypeError, match=text):
        make()


@pytest.mark.parametrize(
    "schedule",
    [
        lambda step: 0.1 if step < 10 else 0.01,
        lambda step: 0.1 * min(1, (step + 1) / 10),
        lambda step: np.cos(step),
        lambda step: math.sqrt(step + 1),
        optim.lambda_lr(0.1, lambda step: 0.9 ** len(range(step))),
    ],
)
def test_a_schedule_that_asks_for_the_steps_value_says_what_to_write(schedule):
    optimizer = optim.sgd(schedule)
    grads = jnp.ones(2)
    state = optimizer.init(grads)
    with pytest.raises(TypeError, match="asks for the step's value .* write jnp.where.step < 10"):
        jax.jit(optimizer.update)(grads, state)
