import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn
from fx.train.watch import cost, peaks
from fx.train.watch.event import Event
from tests.train.tiny_run import Net, data, make


def batch_of(steps=1, n=8):
    x, y = data(n * steps)
    return (x, y) if steps == 1 else (x.reshape(steps, n, 4), y.reshape(steps, n))


def shaped(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def test_products_of_matrices():
    def product(w, x):
        return jnp.einsum("bij,bjk->bik", x, w)

    assert cost.flops(product, shaped(3, 5, 7), shaped(3, 4, 5)) == 2 * 3 * 4 * 5 * 7
    assert cost.flops(jnp.add, shaped(3), shaped(3)) == 0


@pytest.mark.parametrize(
    "stride, padding, dilation, groups",
    [(1, 0, 1, 1), (1, (2, 1), 1, 1), (2, 1, 1, 1), (3, 2, 2, 1), (2, 1, 1, 4)],
)
def test_convolutions_count_as_xla_counts_them(stride, padding, dilation, groups):
    def convolve(w, x):
        return fx.functional.conv2d(x, w, None, stride, padding, dilation, groups)

    def gradients(w, x):
        return jax.value_and_grad(lambda w, x: (convolve(w, x) ** 2).sum(), (0, 1))(w, x)

    channels = 32 * groups  # groups of fewer share a convolution on a CPU, and XLA counts zeros
    w, x = jnp.ones((channels, 32, 3, 2)), jnp.ones((2, channels, 9, 11))
    assert cost.flops(convolve, w, x) == cost.xla_flops(convolve, w, x)
    ours, theirs = cost.flops(gradients, w, x), cost.xla_flops(gradients, w, x)
    assert ours == pytest.approx(theirs, rel=0.1)  # the square and the sum


def test_what_xla_says_of_a_network():
    """Wide enough for products to be nearly all of it."""
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 256))
    optimizer = fx.optim.sgd(0.1)
    step = fx.train.make_step(model, lambda y, t: jnp.mean((y - t) ** 2), optimizer)
    ts = fx.train.create(model, optimizer, jax.random.key(0))
    batch = jnp.ones((64, 3, 8, 8)), jnp.ones((64, 256))
    counted, told = cost.flops(step, ts, batch), cost.xla_flops(step, ts, batch)
    assert told is not None and 0.9 * told < counted <= told
    step(ts, batch)
    assert step.compilations.count == 1  # the analysis and the call share one


def test_a_call_of_several_steps_counts_them_all():
    one, ts, _ = make()
    four, _, _ = make(steps_per_call=2)
    single = cost.flops(one, ts, batch_of())
    forward = 2 * 8 * (4 * 8 + 8 * 3)
    assert single == forward + 2 * 8 * (4 * 8 + 2 * 8 * 3)  # the input needs no gradient
    assert cost.flops(four, ts, batch_of(2)) == 2 * single


def test_a_state_that_was_donated_has_its_shapes_still():
    step, ts, _ = make()
    step(ts, batch_of())
    assert cost.flops(step, ts, batch_of()) > 0


def test_loops_conditions_and_shares():
    w, x = jnp.ones((4, 4)), jnp.ones((2, 4))
    one = 2 * 2 * 4 * 4

    def scanned(w, x):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=5)[0]

    def unsure(w, x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ w, x)

    def either(w, x):
        return jax.lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)

    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    part = jax.sharding.PartitionSpec
    shared = jax.shard_map(
        lambda w, x: x @ w, mesh=mesh, in_specs=(part(), part("d")), out_specs=part("d")
    )
    assert cost.flops(scanned, w, x) == 5 * one
    assert cost.flops(unsure, w, x) == one
    assert cost.flops(either, w, x) == 2 * one
    assert cost.flops(shared, w, x) == one
    assert cost.flops(jax.checkpoint(lambda w, x: x @ w), w, x) == one


def test_mfu():
    assert cost.mfu(989.4e12, 2.0, 989.4e12) == 0.5


def device(**stats):
    return SimpleNamespace(memory_stats=lambda: stats or None)


def test_memory_is_that_of_the_fullest_device():
    one = device(bytes_in_use=2e9, peak_bytes_in_use=5e9)
    other = device(bytes_in_use=3e9, peak_bytes_in_use=4e9)
    assert cost.memory([one, other, device()]) == {"memory_gb": 3.0, "memory_peak_gb": 5.0}
    assert cost.memory([device(bytes_in_use=2e9)]) == {"memory_gb": 2.0}
    assert cost.memory([device()]) == {}


@pytest.mark.parametrize("steps", [1, 2])
def test_a_meter_beside_a_run(steps, monkeypatch):
    monkeypatch.setattr(cost, "memory", lambda: {"memory_gb": 1.5})
    step, ts, _ = make() if steps == 1 else make(steps_per_call=2)
    meter = cost.Meter(step, ts, batch_of(steps), peak=1e9)
    assert meter.flops_per_example == cost.flops(step, ts, batch_of(steps)) / (8 * steps)

    def event(kind, speed):
        return Event(kind, 1, 50, {"loss": 0.5}, 1.0, speed, None)

    expected = meter.flops_per_example * 2000 / 1e9
    assert meter(event("log", 2000.0)) == {"mfu": expected, "memory_gb": 1.5}
    assert meter(event("log", None)) == {"memory_gb": 1.5}
    assert meter(event("epoch", 2000.0)) == {}
    json.dumps(meter(event("log", 2000.0)))


def test_a_meter_divides_by_the_peak_of_all_devices(monkeypatch):
    asked = []
    monkeypatch.setattr(cost, "find_peak", lambda *about: asked.append(about) or 2e9)
    step, ts, _ = make()
    meter = cost.Meter(step, ts, batch_of(), precision="bf16")
    assert meter.peak == 2e9 and asked == [("bf16", jax.devices()[0])]


def test_a_meter_by_xlas_analysis(monkeypatch):
    step, ts, _ = make()
    meter = cost.Meter(step, ts, batch_of(), peak=1e9, flops="xla")
    told = cost.xla_flops(step, ts, batch_of())
    assert meter.flops_per_example == told / 8 > cost.flops(step, ts, batch_of()) / 8
    monkeypatch.setattr(cost, "_devices", lambda tree: jax.devices()[:1] * 2)  # told is one's share
    meter = cost.Meter(step, ts, batch_of(), peak=1e9, flops="xla")
    assert (meter.flops_per_example, meter.peak) == (2 * told / 8, 2e9)
    with pytest.raises(ValueError, match=r'expected flops="program" or "xla", got \'hlo\''):
        cost.Meter(step, ts, batch_of(), peak=1e9, flops="hlo")
    several, _, _ = make(steps_per_call=2)
    with pytest.raises(ValueError, match=r'whose bodies XLA counts once.*; use flops="program"'):
        cost.Meter(several, ts, batch_of(2), peak=1e9, flops="xla")
    monkeypatch.setattr(cost, "xla_flops", lambda *call: None)
    with pytest.raises(ValueError, match="expected XLA to tell the operations.*got None on cpu"):
        cost.Meter(step, ts, batch_of(), peak=1e9, flops="xla")


def test_the_widest_array_says_how_many_devices(monkeypatch):
    class Far:
        process_index = 1

    class Spread:
        def __init__(self, *devices):
            self.sharding = SimpleNamespace(device_set=set(devices))

    near = jax.devices()[0]
    monkeypatch.setattr(cost.jax, "Array", Spread)
    found = cost._devices([Spread(near), Spread(Far(), near, Far()), 1.0])
    assert len(found) == 3 and found[0] is near  # one that can be asked comes first


def test_a_meter_wants_examples():
    with pytest.raises(ValueError, match=r"Meter: expected a batch of examples, got .* \[\]"):
        cost.Meter(lambda ts, batch: ts, jnp.ones(()), (), peak=1.0)
    with pytest.raises(ValueError, match=r"got arrays of shapes \[\(\)\]"):
        cost.Meter(lambda ts, batch: ts, jnp.ones(()), jnp.ones(()), peak=1.0)


@pytest.mark.parametrize(
    "kind, precision, teraflops",
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4),
        ("NVIDIA H100 PCIe", "tf32", 378),
        ("NVIDIA H200", "float32", 66.9),
        ("NVIDIA A100-SXM4-80GB", "tf32", 156),
        ("NVIDIA A100 80GB PCIe", "fp16", 312),
        ("NVIDIA L4", "bf16", 121),
        ("Tesla T4", "fp16", 65),
        ("Tesla V100-SXM2-32GB", "float32", 15.7),
        ("NVIDIA GeForce RTX 3090", "bf16", 71),
        ("NVIDIA GeForce RTX 4090", "tf32", 82.6),
        ("TPU v4", "bf16", 275),
        ("TPU v5 lite", "bf16", 197),
        ("TPU v5p", "bf16", 459),
        ("TPU v6 lite", "bf16", 918),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16", None),
        ("Tesla T4", "bf16", None),
        ("cpu", "float32", None),
    ],
)
def test_known_peaks(kind, precision, teraflops):
    expected = None if teraflops is None else pytest.approx(teraflops * 1e12)
    assert peaks.known_peak(kind, precision) == expected


def test_peaks_of_the_table_make_sense():
    for _, known in peaks._KNOWN:
        ordered = [known[name] for name in ("float32", "tf32", "bf16") if name in known]
        assert ordered == sorted(ordered)
        assert known.get("fp16") in (None, known.get("bf16", known.get("fp16")))


def test_a_measured_peak(monkeypatch):
    times = {512: 1e-3, 1024: 4e-3, 2048: 0.1}
    monkeypatch.setattr(peaks, "_fastest", lambda matrix, precision: times[len(matrix)])
    assert peaks.measure_peak() == 2 * 1024**3 / 4e-3  # 2048 is slower, and ends it
    assert peaks.measure_peak(largest=512) == 2 * 512**3 / 1e-3
    assert peaks.find_peak() == peaks.measure_peak()
    known = SimpleNamespace(device_kind="NVIDIA L4")
    assert peaks.find_peak("bf16", known) == 121e12


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
def test_a_peak_is_measured_here(precision):
    assert 1e6 < peaks.measure_peak(precision, largest=512) < 1e16


def test_an_unknown_precision():
    for function in (peaks.measure_peak, lambda precision: peaks.known_peak("cpu", precision)):
        with pytest.raises(ValueError, match="precision: expected one of"):
            function("int4")


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda: Net().init(jax.random.key(0))[0])
    ts = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    assert cost.flops(lambda p, x: x @ p["first"]["weight"].T, ts, shaped(2, 4)) == 2 * 2 * 4 * 8
