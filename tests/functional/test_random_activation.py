import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal

KEY = jax.random.key(0)


def test_rrelu_in_evaluation():
    check(
        lambda x: F.rrelu(x, 0.1, 0.5), lambda x: TF.rrelu(x, 0.1, 0.5), normal(4, 3), second=True
    )


def test_rrelu_draws_a_slope_for_each_element():
    x = jnp.full((100, 100), -1.0)
    slopes = -F.rrelu(x, 0.1, 0.5, True, key=KEY)
    assert 0.1 <= slopes.min() < 0.101 and 0.499 < slopes.max() <= 0.5
    assert abs(float(slopes.mean()) - 0.3) < 4 * 0.4 / 12**0.5 / 100
    assert len(np.unique(slopes)) > 9000
    gradient = jax.grad(lambda x: F.rrelu(x, 0.1, 0.5, True, key=KEY).sum())(x)
    assert_close(gradient, slopes)
    np.testing.assert_array_equal(F.rrelu(-x, 0.1, 0.5, True, key=KEY), -x)


def test_gumbel_softmax_samples_the_distribution():
    logits = jnp.log(jnp.array([0.2, 0.5, 0.3]))
    draws = F.gumbel_softmax(jnp.broadcast_to(logits, (4000, 3)), hard=True, key=KEY)
    assert_close(draws.sum(1), np.ones(4000))
    np.testing.assert_allclose(draws.mean(0), [0.2, 0.5, 0.3], atol=4 * 0.5 / 4000**0.5)


@pytest.mark.parametrize("dim", [0, -1])
def test_gumbel_softmax_given_its_noise(dim):
    noise = np.asarray(jax.random.gumbel(KEY, (4, 3)))
    check(
        lambda x: F.gumbel_softmax(x, 0.5, dim=dim, key=KEY),
        lambda x: torch.softmax((x + torch.from_numpy(np.array(noise))) / 0.5, dim),
        normal(4, 3),
    )


def test_hard_samples_have_the_soft_gradient():
    x = jnp.asarray(normal(4, 3))
    weight = jnp.asarray(normal(4, 3, seed=1))
    soft, hard = (
        jax.grad(lambda x, h=h: (weight * F.gumbel_softmax(x, hard=h, key=KEY)).sum())(x)
        for h in (False, True)
    )
    assert_close(hard, soft)


def test_low_precision_is_kept():
    check_bfloat16(lambda x: F.rrelu(x, training=True, key=KEY), normal(4, 3))
    check_bfloat16(lambda x: F.gumbel_softmax(x, key=KEY), normal(4, 3))


def test_errors():
    x = jnp.ones(3)
    with pytest.raises(ValueError, match="rrelu: expected lower <= upper, got 0.5 and 0.1"):
        F.rrelu(x, 0.5, 0.1)
    with pytest.raises(
        ValueError, match="rrelu: expected a PRNG key, got None; in forward pass key="
    ):
        F.rrelu(x, training=True)
    with pytest.raises(ValueError, match="gumbel_softmax: expected a PRNG key, got None"):
        F.gumbel_softmax(x)
    with pytest.raises(TypeError, match="gumbel_softmax: expected a floating input, got int32"):
        F.gumbel_softmax(jnp.ones(3, jnp.int32), key=KEY)


@pytest.mark.parametrize("dim", [0, -1])
def test_gumbel_softmax_of_a_scalar(dim):
    expected = TF.gumbel_softmax(torch.tensor(3.0), hard=True, dim=dim)
    assert_close(
        F.gumbel_softmax(jnp.array(3.0), hard=True, dim=dim, key=jax.random.key(0)), expected
    )
