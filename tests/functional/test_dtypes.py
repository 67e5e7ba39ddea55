"""What an argument may be."""

import jax
import jax.numpy as jnp
import pytest

import fx.functional as F
from fx import nn

LAYER = nn.Linear(3, 3)
PARAMS, STATE = LAYER.init(jax.random.key(0))
X = jnp.ones((4, 3))


@pytest.mark.parametrize("where", [
    "cross_entropy", "mse_loss", "binary_cross_entropy_with_logits", "kl_div", "huber_loss", "relu",
    "softplus", "normalize", "linear",
])  # fmt: skip
def test_what_apply_returns_is_no_array(where):
    function, both = getattr(F, where), LAYER.apply(PARAMS, STATE, X)
    arguments = (X,) if where in {"cross_entropy", "linear"} or "_" in where else ()
    with pytest.raises(TypeError, match=f"^{where}: expected an array, got \\(outputs, state\\)"):
        function(both, *arguments)


def test_outputs_of_several_kinds_are_no_array():
    with pytest.raises(TypeError, match="^softmax: .* got a tuple of 2; take from it what is wan"):
        F.softmax((X, (X, X)), 1)
    with pytest.raises(TypeError, match="^sigmoid: expected an array, got a dict of 1; take"):
        F.sigmoid({"logits": X})


def test_layers_say_so_too():
    both = LAYER.apply(PARAMS, STATE, X)
    for where, model in ("Linear", LAYER), ("flatten", nn.Sequential(nn.Flatten(), nn.ReLU())):
        with pytest.raises(TypeError, match=f"^{where}: .*; write outputs, state = model.apply"):
            model.apply(*model.init(jax.random.key(0)), both)
