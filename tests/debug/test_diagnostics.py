import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx.debug import Histograms, diagnostics
from fx.train.watch.callbacks import Event

RNG = np.random.default_rng(0)
TREE = {
    "conv": {"weight": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32), "bias": jnp.ones(4)},
    "block": {"fc": {"weight": jnp.asarray(RNG.normal(size=(2, 2)), jnp.bfloat16)}},
    "count": jnp.int32(3),
}


def test_norms_by_layer():
    norms = diagnostics.gradient_norms(TREE)
    both = np.concatenate([np.ravel(leaf) for leaf in TREE["conv"].values()])
    assert set(norms) == {"conv", "block.fc"}
    np.testing.assert_allclose(norms["conv"], np.linalg.norm(both), rtol=1e-6)
    assert norms["block.fc"].dtype == jnp.float32


def test_ratios_are_of_the_weights():
    updates = jax.tree.map(lambda a: a * 0.01 if a.ndim else a, TREE)
    ratios = diagnostics.update_ratios(TREE, updates)
    np.testing.assert_allclose(ratios["conv"], 0.01, rtol=1e-5)
    np.testing.assert_allclose(ratios["block.fc"], 0.01, rtol=1e-2)
    zero = {"fc": {"w": jnp.zeros(3)}}
    assert jnp.isfinite(diagnostics.update_ratios(zero, zero)["fc"])


def test_all_run_under_jit_vmap_and_scan():
    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), TREE)
    norms = jax.jit(jax.vmap(diagnostics.gradient_norms))(stacked)
    np.testing.assert_allclose(norms["conv"][1], 2 * norms["conv"][0], rtol=1e-6)
    counts = jax.lax.scan(lambda c, t: (c, diagnostics.histograms(t, 8)), 0, stacked)[1]
    assert counts["conv.weight"]["counts"].shape == (2, 8)


def test_histograms_are_numpys():
    found = diagnostics.histograms(TREE, bins=10)
    assert set(found) == {"conv.weight", "conv.bias", "block.fc.weight"}
    values = np.asarray(TREE["conv"]["weight"])
    counts, edges = np.histogram(values, 10)
    assert found["conv.weight"]["counts"].tolist() == counts.tolist()
    np.testing.assert_allclose(found["conv.weight"]["edges"], edges, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["conv.weight"]["mean"], values.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["conv.weight"]["std"], values.std(), rtol=1e-5)
    assert int(found["conv.bias"]["counts"].sum()) == 4  # all values are one


def test_histograms_leave_out_what_is_not_finite():
    values = jnp.array([jnp.nan, 1.0, 2.0, -jnp.inf, jnp.inf])
    found = diagnostics.histograms({"w": values}, bins=2)["w"]
    assert found["counts"].tolist() == [1, 1] and int(found["nonfinite"]) == 3
    assert found["edges"].tolist() == [1.0, 1.5, 2.0] and float(found["mean"]) == 1.5
    alone = diagnostics.histograms({"w": jnp.full(2, jnp.nan)}, bins=2)["w"]
    assert alone["counts"].tolist() == [0, 0] and np.isfinite(alone["edges"]).all()
    with pytest.raises(ValueError, match="histograms: expected bins of 1 or more, got 0"):
        diagnostics.histograms(TREE, bins=0)


def test_a_table():
    text = diagnostics.table(
        gradient={"conv": 0.5, "fc": jnp.float32(jnp.nan)}, ratio={"conv": 1.23456e-3}
    )
    assert text.splitlines() == [
        "layer    gradient       ratio",
        "conv          0.5    0.001235",
        "fc            nan",
    ]
    assert diagnostics.table(gradient={}) == "layer    gradient"


class Carrier:
    params = TREE


def event(kind, epoch):
    return Event(kind, epoch, 10 * epoch, {}, 1.0, None, Carrier())


def test_histograms_in_tensorboard(tmp_path):
    reader = pytest.importorskip("tensorboardX.proto.event_pb2")
    listener = Histograms(tmp_path, every=2, bins=4)
    for epoch in (1, 2, 3, 4):
        listener(event("log", epoch))
        listener(event("epoch", epoch))
    listener.close()
    summaries = {}
    for record in records(next(tmp_path.glob("events*")).read_bytes()):
        message = reader.Event.FromString(record)
        for value in message.summary.value:
            summaries[message.step, value.tag] = value.histo
    assert {step for step, _ in summaries} == {20, 40}
    histogram = summaries[20, "histogram/conv.weight"]
    values = np.asarray(TREE["conv"]["weight"], np.float64)
    assert histogram.num == 12 and sum(histogram.bucket) == 12
    assert histogram.sum == pytest.approx(values.sum(), rel=1e-4)
    assert histogram.sum_squares == pytest.approx((values**2).sum(), rel=1e-4)


def records(data: bytes):
    """The payloads of a file of TFRecords."""
    while data:
        size = int.from_bytes(data[:8], "little")
        yield data[12 : 12 + size]
        data = data[16 + size :]


def test_errors_of_the_listener(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Histograms: expected every and bins of 1 or more, got 0"):
        Histograms(tmp_path, every=0)
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[tensorboard\]'"):
        Histograms(tmp_path)
