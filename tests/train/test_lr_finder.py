import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx.train.lr_finder import _endless, _smooth, _suggest, find_lr
from tests.train.tiny_run import OPTIMIZER, Batches, Net, assert_same_bits, jitter, loss_fn


class Line:
    """w * x; the loss (w - 1)**2 / 2 diverges above a rate of 2."""

    def init(self, key):
        return {"weight": jnp.full((), -1.0)}, {}

    def apply(self, params, state, x, *, train=False, key=None):
        return params["weight"] * x, state


class Ones:
    def epoch(self, n):
        yield from [(jnp.ones(4), jnp.ones(4))] * 3


def square(y, t):
    return jnp.mean((y - t) ** 2) / 2


def start(model=None, optimizer=OPTIMIZER):
    return fx.train.create(model or Net(), optimizer, jax.random.key(0))


def test_a_loss_whose_limit_is_known():
    found = find_lr(Line(), square, fx.optim.sgd, start(Line()), Ones(), lr_max=1e3)
    assert found.diverged and 2 < found.lrs[-1] < 1e3
    assert len(found.lrs) == len(found.losses) == len(found.smoothed) < 100
    np.testing.assert_allclose(found.losses[0], 2.0)
    assert found.steepest < 2 and found.tenth_of_lowest < 0.3
    assert found.suggestion == min(found.steepest, found.tenth_of_lowest)
    weight, losses = -1.0, []
    for lr in found.lrs:  # by hand
        losses.append((weight - 1) ** 2 / 2)
        weight -= lr * (weight - 1)
    np.testing.assert_allclose(found.losses, losses, rtol=5e-3, atol=1e-6)  # it amplifies rounding


def test_the_rates_are_those_of_the_optimizer():
    rates = []

    def spying(schedule):
        rates.extend(float(schedule(jnp.asarray(count))) for count in (0, 50, 99))
        return fx.optim.sgd(schedule)

    found = find_lr(Line(), square, spying, start(Line()), Ones(), lr_min=1e-6, lr_max=1.0)
    assert len(found.lrs) == 100 and not found.diverged
    np.testing.assert_allclose(found.lrs[[0, 50, 99]], rates, rtol=1e-5)
    np.testing.assert_allclose(found.lrs[[0, 99]], [1e-6, 1.0])
    np.testing.assert_allclose(found.lrs[1:] / found.lrs[:-1], 1e6 ** (1 / 99))


def test_what_it_suggests_trains():
    loader = Batches(200, 20)
    ts = start()
    found = find_lr(Net(), loss_fn, fx.optim.adam, ts, loader, lr_min=1e-5, transform=jitter)
    assert 1e-3 < found.suggestion < 1
    falls = {}
    for factor in (0.01, 1):
        step = fx.train.make_step(Net(), loss_fn, fx.optim.adam(found.suggestion * factor))
        run = fx.fit(step, start(optimizer=step.optimizer), loader, epochs=4, progress=False)
        falls[factor] = run.history[0]["train_loss"] - run.history[-1]["train_loss"]
    assert falls[1] > 3 * abs(falls[0.01])


def test_the_state_stays_as_it_was():
    ts, before = start(), start()
    one = find_lr(Net(), loss_fn, fx.optim.adam, ts, Batches(), steps=10)
    assert_same_bits(ts, before)
    other = find_lr(Net(), loss_fn, fx.optim.adam, ts, Batches(), steps=10)
    np.testing.assert_array_equal(one.losses, other.losses)


def test_options_go_to_the_step_and_any_optimizer_will_do():
    ts = start()
    plain = find_lr(Net(), loss_fn, optax.adam, ts, Batches(), steps=10)
    held = find_lr(
        Net(), loss_fn, fx.optim.sgd, ts, Batches(), steps=10, lr_max=1e3, clip_norm=1e-9, ema=0.9
    )
    assert len(plain.lrs) == 10 and not held.diverged
    with pytest.raises(TypeError, match="clip_nrom"):
        find_lr(Net(), loss_fn, fx.optim.sgd, ts, Batches(), clip_nrom=1.0)


def test_a_loss_that_is_not_finite_ends_it():
    def breaks(y, t):
        loss = square(y, t)
        return jnp.where(loss < 1.5, jnp.nan, loss)

    found = find_lr(Line(), breaks, fx.optim.sgd, start(Line()), Ones())
    assert found.diverged and np.isfinite(found.losses).all() and len(found.lrs) < 90


def test_a_loss_below_zero():
    def negative(y, t):
        return square(y, t) - 10.0

    found = find_lr(Line(), negative, fx.optim.sgd, start(Line()), Ones(), lr_max=1e3)
    assert found.diverged and found.lrs[-1] > 2 and found.suggestion is not None


def test_no_suggestion_where_nothing_falls():
    def constant(y, t):
        return 0.0 * square(y, t) + 1.0

    found = find_lr(Line(), constant, fx.optim.sgd, start(Line()), Ones(), steps=10)
    assert (found.steepest, found.tenth_of_lowest, found.suggestion) == (None, None, None)
    rates = np.geomspace(1e-5, 1, 20)
    assert _suggest(rates, np.linspace(1, 2, 20)) == (None, None)
    assert _suggest(rates[:2], np.array([2.0, 1.0])) == (None, None)


def test_suggestions_from_a_curve():
    rates = np.geomspace(1e-6, 1, 601)
    losses = 2 - np.tanh(2 * (np.log10(rates) + 3)) + 5 * np.maximum(np.log10(rates) + 1, 0)
    steepest, tenth = _suggest(rates, losses)
    assert steepest == pytest.approx(1e-3, rel=0.03) and tenth == pytest.approx(1e-2, rel=0.03)


def test_smoothing_shifts_nothing():
    line = np.linspace(3, 1, 50)
    np.testing.assert_allclose(_smooth(line, 5)[5:-5], line[5:-5])
    step = np.where(np.arange(51) < 25, 1.0, 0.0)
    smooth = _smooth(step, 5)
    np.testing.assert_allclose(smooth[20:30], 1 - smooth[20:30][::-1], atol=1e-12)
    np.testing.assert_allclose(_smooth(np.full(7, 2.0), 5), 2.0)


def test_epochs_follow_each_other():
    class Numbered:
        def epoch(self, n):
            yield from [(n, 0), (n, 1)]

    batches = _endless(Numbered())
    assert [next(batches) for _ in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


class Empty:
    def epoch(self, n):
        return iter(())


@pytest.mark.parametrize(
    "loader, options, kind, text",
    [
        ((), {}, TypeError, "expected a loader with epoch\\(\\), or a list of batches, got tuple"),
        ([], {}, ValueError, "expected batches, got an empty list"),
        (Empty(), {}, ValueError, "epoch 0 of the loader is empty"),
        (Ones(), {"lr_min": 1.0, "lr_max": 0.1}, ValueError, "0 < lr_min < lr_max, got 1.0"),
        (Ones(), {"lr_min": 0.0}, ValueError, "expected 0 < lr_min < lr_max, got 0.0"),
        (Ones(), {"steps": 9}, ValueError, "expected steps of 10 or more, got 9"),
        (Ones(), {"steps": 10.5}, TypeError, "steps"),
        (Ones(), {"steps_per_call": 2}, ValueError, "expected no steps_per_call"),
        (Ones(), {"donate": False}, ValueError, "expected no donate"),
    ],
)  # fmt: skip
def test_bad_arguments(loader, options, kind, text):
    with pytest.raises(kind, match=text):
        find_lr(Line(), square, fx.optim.sgd, start(Line()), loader, **options)


def test_an_optimizer_that_has_its_rate_already():
    text = "expected make_optimizer to be a function of the learning rate, got .*; write fx.optim"
    with pytest.raises(TypeError, match=text):
        find_lr(Line(), square, fx.optim.sgd(0.1), start(Line()), Ones())


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    found = find_lr(Line(), square, fx.optim.sgd, start(Line()), Ones())
    path = found.plot(tmp_path / "pictures" / "lr.svg")
    text = path.read_text()
    assert path == tmp_path / "pictures" / "lr.svg" and text.startswith("<?xml")
    assert found.plot(tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


def test_a_loss_that_is_never_finite_is_an_error():
    class Lost(Batches):
        def epoch(self, epoch, start=0, steps_per_call=1):
            return ((x * np.nan, y) for x, y in super().epoch(epoch, start, steps_per_call))

    ts = fx.train.create(Net(), OPTIMIZER, jax.random.key(0))
    with pytest.raises(ValueError, match="not finite at the first step, whose rate is 1e-05"):
        find_lr(Net(), loss_fn, fx.optim.sgd, ts, Lost(), lr_min=1e-5)
