import jax
import pytest

import fx
from fx import nn

CONV = 2 * 32 * 32 * (3 * 32 + 32 * 32) * 9


def test_convnet_counts():
    found = fx.summary(fx.models.ConvNet(), (1, 3, 32, 32))
    assert found.parameters == 323498 and found.size_bytes == 4 * 323498
    assert found.buffers == 2 * (32 + 32 + 64 + 64 + 128 + 128) + 6
    rows = {row.name: row for row in found.rows}
    assert rows["features.0"].parameters == 3 * 32 * 9 + 32
    assert rows["features.0"].output == [1, 32, 32, 32]
    assert rows["features.0"].flops == 2 * 32 * 32 * 32 * 27 + 32 * 32 * 32
    assert rows["classifier.5"].flops == 2 * 256 * 10 + 10
    assert rows[""].flops == found.flops == rows["features"].flops + rows["classifier"].flops
    assert rows["features"].parameters + rows["classifier"].parameters == 323498


def test_nothing_is_run(monkeypatch):
    class Loud(nn.Module):
        def forward(self, x):
            assert isinstance(x, jax.core.Tracer)
            return x + 1

    assert fx.summary(Loud(), (10,)).flops == 10


def test_it_prints_a_table():
    text = str(fx.summary(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (2, 8)))
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "output", "shape", "parameters", "FLOPs"]
    assert lines[3].split() == ["Linear", "(0)", "[2,", "4]", "36", "136"]
    assert "parameters: 36 (0.00 MiB)" in text and "FLOPs: 144" in text


def test_loops_and_training_mode_are_counted():
    class Scanned(nn.Module):
        def forward(self, x):
            return jax.lax.scan(lambda c, _: (c @ x, None), x, length=5)[0]

    assert fx.summary(Scanned(), (4, 4)).flops == 5 * 2 * 4**3
    fx.summary(fx.models.ConvNet(), (2, 3, 32, 32), train=True)


def test_inputs_of_several_arrays():
    class Named(nn.Module):
        def __init__(self):
            self.lstm = nn.LSTM(4, 8)

        def forward(self, batch, start):
            return self.lstm(batch["x"], start)[0]

    found = fx.summary(Named(), {"x": jax.ShapeDtypeStruct((5, 2, 4), "float32")}, ((1, 2, 8),) * 2)
    assert found.rows[0].output == [5, 2, 8]


def test_inputs_are_checked():
    with pytest.raises(TypeError, match="expected arrays, jax.ShapeDtypeStruct or shapes, got 3"):
        fx.summary(nn.ReLU(), 3)
    with pytest.raises(ValueError, match=r"expected sizes of 0 or more, got \(-1, 3\)"):
        fx.summary(nn.ReLU(), (-1, 3))
    with pytest.raises(TypeError, match="summary: expected an input or its shape"):
        fx.summary(nn.ReLU())
    with pytest.raises(TypeError, match="summary: expected a module, got <function relu"):
        fx.summary(fx.functional.relu, (1, 2))


def test_branches_and_lifted_parts_are_counted():
    class Lifted(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            fn, (params, state) = self.fc.functional()
            run = jax.checkpoint(lambda x: fn(params, state, x)[0])
            return jax.lax.cond(x.sum() > 0, run, lambda x: x, x)

    found = fx.summary(Lifted(), (2, 8))
    rows = {row.name: row for row in found.rows}
    assert rows["fc"].flops == 2 * 2 * 8 * 8 + 2 * 8 and rows["fc"].output == [2, 8]
