import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from fx import optim

CASES = {
    "constant": (optim.constant_lr, lr_scheduler.ConstantLR, {"factor": 0.3, "total_iters": 7}),
    "constant_default": (optim.constant_lr, lr_scheduler.ConstantLR, {}),
    "linear": (
        optim.linear_lr,
        lr_scheduler.LinearLR,
        {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 11},
    ),
    "linear_default": (optim.linear_lr, lr_scheduler.LinearLR, {}),
    "exponential": (optim.exponential_lr, lr_scheduler.ExponentialLR, {"gamma": 0.93}),
    "step": (optim.step_lr, lr_scheduler.StepLR, {"step_size": 4, "gamma": 0.3}),
    "step_default": (optim.step_lr, lr_scheduler.StepLR, {"step_size": 3}),
    "multi_step": (
        optim.multi_step_lr,
        lr_scheduler.MultiStepLR,
        {"milestones": [9, 3, 3, 14], "gamma": 0.5},
    ),
    "cosine": (
        optim.cosine_annealing_lr,
        lr_scheduler.CosineAnnealingLR,
        {"T_max": 10, "eta_min": 1e-3},
    ),
    "cosine_default": (optim.cosine_annealing_lr, lr_scheduler.CosineAnnealingLR, {"T_max": 7}),
}


def torch_values(scheduler, base, arguments, steps):
    optimizer = torch.optim.SGD([torch.zeros(1)], base)
    made = scheduler(optimizer, **arguments)
    values = []
    for step in range(steps):
        made.last_epoch = step
        values.append(made._get_closed_form_lr()[0])
    return values


@pytest.mark.parametrize("name", CASES)
def test_every_value_is_torchs_closed_form_past_the_end_too(x64, name):
    ours, theirs, arguments = CASES[name]
    steps = np.arange(25)
    expected = torch_values(theirs, 0.05, arguments, len(steps))
    schedule = ours(0.05, **arguments)
    np.testing.assert_allclose([float(schedule(int(s))) for s in steps], expected, rtol=4e-15)
    np.testing.assert_allclose(jax.vmap(schedule)(jnp.asarray(steps)), expected, rtol=4e-15)


@pytest.mark.parametrize("name", CASES)
def test_a_schedule_is_float32_and_jit_equals_eager(name):
    ours, _, arguments = CASES[name]
    schedule = ours(0.05, **arguments)
    for step in (0, 3, 20):
        traced = jax.jit(schedule)(jnp.int32(step))
        assert traced.dtype == jnp.float32 and traced.shape == ()
        np.testing.assert_allclose(traced, schedule(step), rtol=1e-6)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.cosine_annealing_lr(0.1, 0), "cosine_annealing_lr: expected T_max of at"),
        (lambda: optim.step_lr(0.1, 0), "step_lr: expected step_size of at least 1 step, got 0"),
        (lambda: optim.linear_lr(0.1, total_iters=0), "linear_lr: expected total_iters of at"),
        (lambda: optim.linear_lr(0.1, 0.0), r"linear_lr: expected start_factor in \(0, 1\], got"),
        (lambda: optim.linear_lr(0.1, 0.5, 2.0), r"expected end_factor in \[0, 1\], got 2.0"),
        (lambda: optim.constant_lr(0.1, -1.0), r"constant_lr: expected factor in \[0, 1\], got"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
