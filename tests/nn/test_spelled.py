"""What torch's tensor methods are called here, in the note of an error in `forward` or a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from fx.nn import spelled

CALLS = {
    "unsqueeze": (lambda x: x.unsqueeze(1), "unsqueeze is jnp.expand_dims"),
    "masked_fill_": (lambda x: x.masked_fill_(x > 0, 0.0), "masked_fill_ is jnp.where"),
    "view": (lambda x: x.view(2, -1), "view is x.reshape"),
    "view of one": (lambda x: x.view(-1), "view is x.reshape"),
    "size": (lambda x: x.size(0), "size is x.shape"),
    "dim": (lambda x: x.sum(dim=1), "dim= is axis= here"),
    "keepdim": (lambda x: jnp.max(x, 1, keepdim=True), "keepdim= is keepdims= here"),
    "values": (lambda x: x.max(1).values, "values is x itself"),
    "softmax": (lambda x: x.softmax(-1), r"softmax is F.softmax\(x, ...\)"),
    "exp": (lambda x: x.exp(), r"exp is jnp.exp\(x, ...\)"),
    "cat": (lambda x: jnp.cat([x, x], 1), "cat is jnp.concatenate"),  # type: ignore
}


class Calls(nn.Module):
    def __init__(self, function):
        self.fc, self.function = nn.Linear(3, 4), function

    def forward(self, x):
        return self.function(self.fc(x))


def note(error):
    return "\n".join(error.value.__notes__)


@pytest.mark.parametrize("name", CALLS)
def test_an_error_says_what_torchs_method_is_called_here(name):
    function, expected = CALLS[name]
    model = Calls(function)
    params, state = model.init(jax.random.key(0))
    for run in (model.apply, jax.jit(model.apply)):
        with pytest.raises(Exception) as error:
            run(params, state, jnp.ones((2, 3)))
        assert error.match(r"(?s)in part Calls; torch's " + expected)


VALUES = {
    "if": lambda x: x if x.sum() > 0 else -x,
    "numpy": lambda x: jnp.asarray(np.clip(np.asarray(x), 0, 1)),
    "item": lambda x: x * x.sum().item(),
    "range": lambda x: sum(x for _ in range(jnp.int32(x.sum()))),
}


@pytest.mark.parametrize("name", VALUES)
def test_an_error_says_what_to_do_without_values(name):
    model = Calls(VALUES[name])
    params, state = model.init(jax.random.key(0))
    with pytest.raises(Exception) as error:
        jax.jit(model.apply)(params, state, jnp.ones((2, 3)))
    assert "in part Calls; values are not known while it is compiled: jnp.where" in note(error)


def test_other_errors_have_no_such_note():
    for function in (lambda x: x.nonsense, lambda x: [].unsqueeze, lambda x: 1 / 0):
        model = Calls(function)
        with pytest.raises(Exception) as error:
            model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 3)))
        assert "in part Calls" in note(error) and "torch" not in note(error)


@pytest.mark.parametrize(
    "loss, text",
    [
        (lambda y, t: (y - t).pow(2).mean(), "loss_fn; torch's pow is x**n here"),
        (lambda y, t: y[t > 0].mean(), "loss_fn; how much x[mask] has is not known while it"),
    ],
)
def test_a_loss_says_it_too(loss, text):
    model, optimizer = nn.Linear(3, 4), fx.optim.sgd(0.1)
    batch = jnp.ones((2, 3)), jnp.ones((2, 4))
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    with pytest.raises((AttributeError, IndexError)) as error:
        fx.train.make_step(model, loss, optimizer)(ts, batch)
    assert text in note(error)


def test_what_the_names_are_is_there():
    for text in spelled._NAMES.values():
        module, _, name = text.partition("(")[0].partition(".")
        if module in ("jnp", "jax"):
            found = {"jnp": jnp, "jax": jax}[module]
            for step in name.split("."):
                found = getattr(found, step)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_have_the_attributes_that_tools_read(dims):
    for name in (f"Conv{dims}d", f"ConvTranspose{dims}d"):
        ours, theirs = getattr(nn, name)(2, 4, 3), getattr(torch.nn, name)(2, 4, 3)
        for word in ("transposed", "output_padding", "groups", "in_channels", "padding_mode"):
            assert getattr(ours, word) == getattr(theirs, word), (name, word)
    assert (nn.ReLU6().min_val, nn.ReLU6().max_val) == (0.0, 6.0)
