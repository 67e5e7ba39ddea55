"""Networks of many kinds in plain PyTorch: each ports, and computes the same."""

import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

import fx
from tests.porting.examples import NAMES, inputs, network, shaken

RANDOM = {"vae", "dense"}  # draw numbers in training
LAYERS = {"residual", "multi_input"}  # compared layer by layer; the others as a whole
SAMPLE = {"residual", "gpt", "vae", "multi_input"}
EACH = [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.full) for name in NAMES]
RUFF = shutil.which("ruff", path=f"{sys.prefix}/bin")


@pytest.fixture(scope="module")
def ported():
    """Each network ported once, from a function that makes it."""
    kept: dict = {}

    def find(name):
        if name not in kept:
            module = network(name)
            made = []

            def make():
                made.append(shaken(module.make))
                return made[-1]

            with jax.numpy_dtype_promotion("standard"):  # as users have it
                port = fx.port(make, inputs(module), layers=name in LAYERS)
            kept[name] = port, made[-1]
        return kept[name]

    return find


@pytest.mark.parametrize("name", EACH)
def test_a_network_ports_and_is_equal(name, ported):
    port, _ = ported(name)
    assert port.obstacles == []
    assert port.equal, str(port)
    assert (port.report is None) == (name not in LAYERS)
    assert port.report is None or port.report.first is None, str(port)
    assert port.constructors == "ported", str(port)
    assert port.training == ("random" if name in RANDOM else "equal")
    assert "torch" not in port.source.replace("ported from PyTorch", ""), port.source


@pytest.mark.parametrize("name", EACH)
def test_what_is_written_passes_ruff(name, ported, tmp_path):
    path = tmp_path / f"{name}.py"
    ported(name)[0].save(path)
    command = [RUFF, "check", "--isolated", "--select", "E4,E7,E9,F,I", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["residual", pytest.param("gpt", marks=pytest.mark.full)])
def test_gradients_are_equal(name, ported):
    port, twin = ported(name)
    given = inputs(network(name))
    outputs = twin.eval()(*given)
    outputs.square().mean().backward()
    expected = {n: p.grad.numpy() for n, p in twin.named_parameters()}
    arrays = fx.from_torch({str(n): x for n, x in enumerate(given)}).values()

    @jax.jit
    @jax.grad
    def gradient(params):
        outputs, _ = port.model.apply(params, port.state, *arrays)
        return (outputs**2).mean()

    found = fx.state_dict(port.model, gradient(port.params))
    for parameter, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[parameter], value, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "multi_input",
        "norm_act",
        "stages",
        pytest.param("transformer", marks=pytest.mark.full),
        pytest.param("dense", marks=pytest.mark.full),
    ],
)
def test_a_live_model_ports_without_its_constructor(name):
    module = network(name)
    model = shaken(module.make)
    port = fx.port(model, inputs(module), layers=False, training=False)
    assert port.equal, str(port)
    assert port.constructors == "written from the live model"


def test_the_written_file_makes_the_model_by_itself(ported, tmp_path):
    port, twin = ported("residual")
    port.save(tmp_path / "written.py")
    code = (
        "import written, jax, sys; model = written.build();"
        "params, state = jax.eval_shape(model.init, jax.random.key(0));"
        "print(sorted(params), 'torch' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split("]")[0] == str(sorted(port.params))[:-1], done.stderr
    assert done.stdout.endswith("False\n")


def test_comments_and_layout_stay(ported):
    source = ported("residual")[0].source
    assert "        out = out + identity  # the shortcut" in source or (
        "        out += identity  # the shortcut" in source
    )
    assert "super()" not in source


def test_the_key_of_a_random_layer_is_drawn(ported):
    port, _ = ported("vae")
    x = np.ones((2, 1, 8, 8), np.float32)
    run = jax.jit(lambda key: port.model.apply(port.params, port.state, x, train=True, key=key)[0])
    first, second = run(jax.random.key(0)), run(jax.random.key(1))
    assert not np.array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])  # mu does not depend on it


def test_importing_the_floor_does_not_import_torch():
    code = "import sys, fx.porting, fx; fx.port; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_without_torch_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fx\[torch\]'"):
        fx.port(lambda: None, np.ones(3))


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="expected a torch.nn.Module or a function that makes one"):
        fx.port(torch.ones(3), torch.ones(3))
