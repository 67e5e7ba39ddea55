import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import functional as F
from fx import nn, optim
from tests.optim.problem import data, run_fx, run_torch

MATRICES = ("w1", "w2")
CASES = {
    "default": {},
    "other": {
        "lr": 0.02,
        "weight_decay": 0.3,
        "momentum": 0.8,
        "nesterov": False,
        "ns_coefficients": (3.0, -4.0, 2.0),
        "ns_steps": 3,
        "adjust_lr_fn": "match_rms_adamw",
    },
}


@pytest.mark.parametrize("name", [pytest.param("default", marks=pytest.mark.full), "other"])
def test_a_hundred_steps_equal_torchs_with_its_iteration_in_float64(x64, name, monkeypatch):
    """torch iterates in bfloat16 always; here its own code runs, without that one cast."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    params, _, _ = run_fx(optim.muon(**CASES[name], ns_dtype=None), trained=MATRICES)
    expected, _, _ = run_torch(
        lambda params: torch.optim.Muon(params, **CASES[name]), trained=MATRICES
    )
    for part in MATRICES:
        np.testing.assert_allclose(params[part], expected[part], rtol=1e-10, atol=1e-10)


def test_bfloat16_stays_as_close_to_torchs_as_bfloat16_can(x64):
    """Products are rounded to 8 bits in another order: 1e-3 of a step of 1e-3, a hundred times."""
    params, _, _ = run_fx(optim.muon(), trained=MATRICES)
    expected, _, _ = run_torch(torch.optim.Muon, trained=MATRICES)
    start = data()[0]
    for part in MATRICES:
        moved = np.linalg.norm(expected[part] - start[part])
        assert np.linalg.norm(params[part] - expected[part]) < 0.05 * moved


def test_thirty_two_learning_rates_at_once():
    rates = jnp.linspace(1e-3, 2e-2, 32)

    def train(lr):
        return run_fx(optim.muon(lr, ns_dtype=jnp.float32), steps=10, trained=MATRICES)

    params, _, last = jax.vmap(train)(rates)
    np.testing.assert_allclose(last[:, -1], rates)
    alone, _, _ = train(rates[31])
    np.testing.assert_allclose(params["w1"][31], alone["w1"], rtol=1e-4, atol=1e-5)


def test_the_update_is_orthogonal_and_keeps_shape_and_dtype():
    params = {
        "wide": jax.random.normal(jax.random.key(0), (3, 6), jnp.bfloat16),
        "tall": jax.random.normal(jax.random.key(1), (8, 2)),
        "empty": jnp.zeros((3, 0)),
    }
    optimizer = optim.muon(1.0, weight_decay=0.0, momentum=0.0)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), updates) == jax.tree.map(
        lambda x: (x.shape, x.dtype), params
    )
    for name, ratio in {"wide": 1.0, "tall": 2.0}.items():
        values = jnp.linalg.svd(updates[name].astype(jnp.float32))[1] / ratio
        assert jnp.all(jnp.abs(values - 1) < 0.45)


def test_groups_give_it_the_matrices_of_hidden_layers():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = optim.groups({"2.weight": optim.muon(0.02)}, default=optim.adamw(1e-3))
    step = fx.train.make_step(model, F.mse_loss, optimizer)
    ts = fx.train.create(model, step.optimizer, jax.random.key(0))
    before = np.asarray(ts.params["2"]["weight"])
    ts, metrics = step(ts, (jnp.ones((4, 4)), jnp.ones((4, 2))))
    np.testing.assert_allclose(metrics["learning_rate"], 0.02)
    assert np.linalg.norm(ts.params["2"]["weight"] - before) > 0.01


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.muon(-1.0), "muon: expected lr >= 0, got -1.0"),
        (lambda: optim.muon(momentum=-1.0), "muon: expected momentum >= 0, got -1.0"),
        (lambda: optim.muon(ns_steps=100), r"muon: expected ns_steps in \[0, 100\), got 100"),
        (lambda: optim.muon(ns_coefficients=(1.0, 2.0)), "muon: expected three ns_coefficients"),
        (
            lambda: optim.muon(adjust_lr_fn="rms"),
            'muon: expected adjust_lr_fn None, "original" or "match_rms_adamw", got \'rms\'',
        ),
        (
            lambda: optim.muon().init({"fc": {"weight": jnp.ones((2, 3)), "bias": jnp.ones(2)}}),
            r"muon: expected parameters with two dimensions, got \['fc'\]\['bias'\] \[2\]; give "
            "those to another optimizer: optim.groups",
        ),
        (lambda: optim.muon().init([jnp.ones(2)] * 5), "got .* and 2 more; give those"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
