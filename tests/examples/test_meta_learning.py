"""The meta-learning example at a small size: gradients go through the inner training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import meta_learning
from fx import functional as F


@pytest.mark.slow
def test_it_learns_to_learn(capsys):
    found = meta_learning.main(["--epochs", "1", "--steps", "200"])
    learned, pooled = found["meta-learned"], found["trained on all tasks"]
    assert learned[5] < 0.85 * learned[0]  # five steps help
    assert learned[5] < 0.9 * pooled[5]  # and more than they help weights that know no task
    assert capsys.readouterr().out.strip().splitlines()[-3].startswith("mean squared error")


def test_its_program_runs(capsys):
    found = meta_learning.main(["--epochs", "1", "--steps", "5"])
    printed = capsys.readouterr().out.strip().splitlines()
    assert printed[-3] == "mean squared error on new tasks after 0 to 5 steps"
    for line, (name, losses) in zip(printed[-2:], found.items(), strict=True):
        assert line.split() == [*name.split(), *(f"{loss:.3f}" for loss in losses)]
        assert len(losses) == 6 and losses[5] < losses[0]  # any weights gain by five steps


def test_the_gradient_goes_through_the_inner_steps():
    with jax.enable_x64(True):
        wide = functools.partial(jax.tree.map, lambda leaf: leaf.astype(jnp.float64))
        (x, y, queries), targets = wide(next(iter(meta_learning.Tasks(0, 1, 2).epoch(0))))
        model = meta_learning.Adapted(meta_learning.make_model(), 3)
        params, state = model.init(jax.random.key(1))
        params = wide(params)

        @jax.jit
        def loss(params):
            return F.mse_loss(model.apply(params, state, x, y, queries)[0], targets)

        direction = jax.tree.map(jnp.ones_like, params)
        moved = [jax.tree.map(lambda p, d=d: p + d, params) for d in (1e-6, -1e-6)]
        _, slope = jax.jvp(loss, (params,), (direction,))
        np.testing.assert_allclose(slope, (loss(moved[0]) - loss(moved[1])) / 2e-6, rtol=1e-5)
