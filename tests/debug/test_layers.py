import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx import nn
from fx.debug import draw_activations, inspect_step


class Net(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(1, 3, 3)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(48, 2)

    def forward(self, x):
        x = self.relu(self.conv(x))
        return self.fc(self.drop(x).reshape(len(x), -1))  # [N, 48]


def loss_fn(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


@pytest.fixture(scope="module")
def run():
    model = Net()
    step = fx.train.make_step(model, loss_fn, optax.sgd(0.1), transform=scale, donate=False)
    ts = fx.train.create(model, step.optimizer, jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(5, 1, 6, 6)).astype(np.float32), np.zeros((5, 2), np.float32)
    return model, step, ts, batch


def scale(x, key):
    return x * 2 + 0.01 * jax.random.normal(key, x.shape)


@pytest.fixture(scope="module")
def seen(run):
    model, _, ts, batch = run
    return inspect_step(model, loss_fn, ts, batch, transform=scale)


def test_a_loss_may_be_a_sum_and_a_weight(run, seen):
    model, _, ts, batch = run

    def both(outputs, targets):
        return fx.train.Mean(jnp.sum((outputs - targets) ** 2), outputs.size)

    found = inspect_step(model, both, ts, batch, transform=scale)
    np.testing.assert_allclose(found.loss, seen.loss, rtol=1e-6)


def test_layers_in_the_order_of_their_calls(seen):
    assert [layer.name for layer in seen.layers] == ["conv", "relu", "drop", "fc", ""]
    assert [layer.kind for layer in seen.layers][-1] == "Net"
    assert seen["conv"].shape == (5, 3, 4, 4) and seen["conv"].dtype == "float32"


def test_statistics_are_those_of_the_output(seen):
    layer = seen["relu"]
    values = np.asarray(layer.output, np.float64)
    figures = (layer.mean, layer.std, layer.low, layer.high, layer.zeros, layer.bad)
    assert figures == pytest.approx(
        (values.mean(), values.std(), 0, values.max(), (values == 0).mean(), 0)
    )
    assert 0.3 < layer.zeros < 0.7 < seen["drop"].zeros


def test_it_is_the_step_that_training_takes(run, seen):
    """Same augmentation, same dropout, so the same loss and gradients."""
    _, step, ts, batch = run
    new, metrics = step(ts, batch)
    assert seen.loss == pytest.approx(float(metrics["loss"]), rel=1e-5)
    moved = jax.tree.map(lambda a, b: (a - b) / 0.1, ts.params, new.params)
    expected = {k: float(v) for k, v in fx.debug.gradient_norms(moved).items()}
    assert seen.gradients == pytest.approx(expected, rel=1e-4)


def test_the_text_is_a_table(seen):
    head, conv, *_, loss = str(seen).splitlines()
    assert head.split()[:2] == ["layer", "output"] and head.endswith("not finite  gradient")
    assert conv.split()[:6] == ["Conv2d", "(conv)", "float32[5,", "3,", "4,", "4]"]
    assert conv.endswith(f"{seen.gradients['conv']:.4g}") and loss.startswith("loss ")


def test_a_layer_that_gives_several_arrays(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            self.rnn = nn.LSTM(2, 3, batch_first=True)

        def forward(self, x):
            return self.rnn(x)[0]

    ts = fx.train.create(Net(), optax.sgd(0.1), jax.random.key(0))
    batch = np.ones((5, 4, 2), np.float32), None
    found = inspect_step(Net(), lambda y, t: y.mean(), ts, batch)
    rows = [(layer.name, layer.place, layer.shape) for layer in found.layers]
    assert rows == [
        ("rnn", "[0]", (5, 4, 3)), ("rnn", "[1][0]", (1, 5, 3)), ("rnn", "[1][1]", (1, 5, 3)),
        ("", "", (5, 4, 3)),
    ]  # fmt: skip
    lines = str(found).splitlines()
    assert lines[2].startswith("LSTM (rnn) [1][0]  float32[1, 5, 3]")
    assert lines[1].endswith(f"{found.gradients['rnn']:.4g}") and lines[2].endswith("0.0%")
    paths = draw_activations(found, tmp_path, sample=4)  # of the state, sample 4 is no row
    assert [path.name for path in paths] == ["rnn.png", "Net.png"]


def test_forward_sees_numbers(run):
    seen_values = []

    class Curious(nn.Module):
        def forward(self, x):
            seen_values.append(float(x.sum()))  # a tracer has no float
            return x

    model = nn.Sequential(Curious())
    ts = fx.train.create(model, optax.sgd(0.1), jax.random.key(0))
    inspect_step(model, lambda y, t: y.sum(), ts, (np.ones((2, 2), np.float32), None))
    assert seen_values[0] == 4.0


def test_what_is_not_finite_is_counted(run):
    model, _, ts, (inputs, targets) = run
    inputs = inputs.copy()
    inputs[1, 0, 0, 0] = np.nan
    found = inspect_step(model, loss_fn, ts, (inputs, targets))
    assert found["conv"].bad == 3 and np.isfinite(found["conv"].mean)


def test_errors(run, seen, tmp_path):
    _, _, ts, batch = run
    with pytest.raises(TypeError, match="inspect_step: expected a model of fx.nn, got object"):
        inspect_step(object(), loss_fn, ts, batch)
    with pytest.raises(KeyError, match="no layer 'nope' was called; there are 'conv', 'relu'"):
        seen["nope"]
    with pytest.raises(ValueError, match='"fc": expected a sample of 0 to 4, got 5'):
        draw_activations(seen, tmp_path, ["fc"], sample=5)


def test_a_shape_that_cannot_be_drawn(tmp_path):
    class Sum(nn.Module):
        def forward(self, x):
            return x.sum()

    model = Sum()
    ts = fx.train.create(model, optax.sgd(0.1), jax.random.key(0))
    found = inspect_step(model, lambda y, t: y, ts, (np.ones((2, 2), np.float32), None))
    assert draw_activations(found, tmp_path) == []
    with pytest.raises(ValueError, match=r"expected an output \[N, C, H, W\], \[N, L, E\] or"):
        draw_activations(found, tmp_path, [""])


def test_pictures(seen, tmp_path):
    image = pytest.importorskip("PIL.Image")
    paths = draw_activations(seen, tmp_path)
    assert [path.name for path in paths] == [
        "conv.png", "relu.png", "drop.png", "fc.png", "Net.png",
    ]  # fmt: skip
    grid = np.asarray(image.open(paths[0]).convert("RGB"))
    coloured = (np.ptp(grid.astype(int), axis=2) > 60).mean()
    assert 0.1 < coloured < 0.9


def test_values_that_are_not_finite_are_magenta(run, tmp_path):
    image = pytest.importorskip("PIL.Image")
    model, _, ts, (inputs, targets) = run
    inputs = inputs.copy()
    inputs[0, 0, 2, 2] = np.inf
    found = inspect_step(model, loss_fn, ts, (inputs, targets))
    path = draw_activations(found, tmp_path, ["conv"])[0]
    colours = np.asarray(image.open(path).convert("RGB")).reshape(-1, 3)
    assert (colours == (255, 0, 255)).all(1).mean() > 0.05
