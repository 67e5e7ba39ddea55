import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import export as jax_export

import fx.deploy
from fx.deploy import bundle as bundle_module
from fx.deploy import load_bundle
from fx.interop.weights import read_weights

from .conftest import CLASSES, SPEC, scale

ROOT = Path(__file__).parents[2]
FILES = ["golden.safetensors", "manifest.json", "model.stablehlo", "weights.safetensors"]


class Apply:
    """A model made of one function of params and inputs."""

    def __init__(self, function):
        self.function = function

    def apply(self, params, state, x, *, train=False, key=None):
        return self.function(params, x), state


def linear(params, x):
    return x.reshape(x.shape[0], -1) @ params["w"]


PARAMS = {"w": jnp.asarray(np.random.default_rng(0).standard_normal((6, 4)), jnp.float32)}
FLOATS = ((None, 2, 3), "float32")


def export(path, function=linear, params=PARAMS, spec=FLOATS, **options):
    return fx.deploy.export(Apply(function), params, {}, spec, path / "bundle", **options)


def test_contents(bundle):
    assert sorted(file.name for file in bundle.iterdir()) == FILES
    assert not [p for p in bundle.parent.iterdir() if p != bundle]
    contents = json.loads((bundle / "manifest.json").read_text())
    assert contents["format"] == "fx-bundle" and contents["format_version"] == 2
    assert contents["inputs"] == [{"name": "input", "shape": [None, 8, 6, 3], "dtype": "uint8"}]
    assert contents["outputs"] == [
        {"name": "probabilities", "shape": [None, 4], "dtype": "float32"}
    ]
    assert contents["classes"] == CLASSES
    assert contents["model"] == "Tiny()" and contents["preprocess"].endswith("conftest.scale")
    assert contents["postprocess"] == "softmax"
    assert contents["platforms"] == ["cpu", "cuda", "tpu"]
    assert contents["versions"]["jax"] == jax.__version__
    assert contents["versions"]["fx"] == fx.__version__
    assert contents["golden"] == {
        "rows": 3,
        "tolerance": {"cpu": 1e-4, "cuda": 2e-2, "tpu": 2e-2},
    }
    assert contents["rows_independent"] is True
    assert contents["files"].keys() == set(FILES) - {"manifest.json"}


def test_weights_are_arguments_by_name(bundle, tiny):
    _, params, state = tiny
    weights = read_weights(bundle / "weights.safetensors")
    assert sorted(weights) == [
        "params.fc1.bias", "params.fc1.weight", "params.fc2.weight",
        "state.norm.count", "state.norm.mean",
    ]  # fmt: skip
    np.testing.assert_array_equal(weights["params.fc1.weight"], params["fc1"]["weight"])
    assert weights["state.norm.count"].dtype == np.int32
    assert (bundle / "model.stablehlo").stat().st_size < 8000


def test_no_source_paths_inside(bundle):
    blob = (bundle / "model.stablehlo").read_bytes()
    assert b".py" not in blob
    for path in (ROOT, Path(jax.__file__).parent):
        assert str(path).encode() not in blob
    assert jax.config.jax_traceback_in_locations_limit != 0


def test_no_source_paths_after_the_same_model_was_lowered_with_them(tiny, tmp_path):
    model, params, state = tiny
    spec = jax.ShapeDtypeStruct((2, 8, 6, 3), jnp.float32)
    assert ".py" in jax.jit(model.apply).lower(params, state, spec).as_text(debug_info=True)
    path = fx.deploy.export(model, params, state, SPEC, tmp_path / "b", preprocess=scale)
    assert b".py" not in (path / "model.stablehlo").read_bytes()


SCRIPT = """
import hashlib, sys
sys.path.insert(0, "tests")
import jax
from deploy.conftest import CLASSES, SPEC, Tiny, scale
import fx.deploy
path = fx.deploy.export(
    Tiny(), *Tiny().init(jax.random.key(0)), SPEC, sys.argv[1], preprocess=scale, classes=CLASSES)
"""


def test_another_process_writes_the_same_bytes(bundle, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "again")],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name in set(FILES) - {"manifest.json"}:
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name
    ours, theirs = (
        json.loads((p / "manifest.json").read_text()) for p in (bundle, tmp_path / "again")
    )
    drop = {"created", "preprocess"}  # imported there under another name
    assert {k: v for k, v in ours.items() if k not in drop} == {
        k: v for k, v in theirs.items() if k not in drop
    }


def test_the_program_runs_without_fx(bundle, images, live):
    exported = jax_export.deserialize(bytearray((bundle / "model.stablehlo").read_bytes()))
    weights = read_weights(bundle / "weights.safetensors")
    found = exported.call(weights, images[:5])["probabilities"]
    np.testing.assert_allclose(found, live(images[:5]), atol=1e-5)


def test_outputs_without_softmax(tmp_path):
    x = np.ones((2, 2, 3), np.float32)
    engine = load_bundle(export(tmp_path, postprocess=None))
    np.testing.assert_allclose(
        engine(x)["outputs"], np.asarray(linear(PARAMS, jnp.asarray(x))), 1e-5
    )


def test_a_function_gives_outputs_by_name(tmp_path):
    def both(logits):
        return {"probabilities": jax.nn.sigmoid(logits), "best": logits.argmax(-1)}

    engine = load_bundle(export(tmp_path, postprocess=both, classes=CLASSES))
    found = engine(np.ones((2, 2, 3), np.float32))
    assert found["probabilities"].shape == (2, 4) and found["best"].dtype == np.int32
    assert engine.manifest["postprocess"].endswith("both")


def test_bfloat16_and_lists_in_params(tmp_path):
    def function(params, x):
        return linear({"w": params["layers"][1]}, x.astype(jnp.bfloat16))

    params = {"layers": [jnp.ones(2, jnp.int8), PARAMS["w"].astype(jnp.bfloat16)]}
    path = export(tmp_path, function, params)
    engine = load_bundle(path, run_golden=True)
    assert read_weights(path / "weights.safetensors").keys() == {
        "params.layers.0",
        "params.layers.1",
    }
    assert engine.manifest["golden"]["tolerance"]["cpu"] == 2e-2
    assert engine.manifest["rows_independent"]


def test_example_rows_are_kept(tmp_path):
    tokens = np.array([[1, 2], [3, 0]], np.int32)

    def embed(params, x):
        return params["w"][x].sum(1)

    path = export(tmp_path, embed, spec=((None, 2), "int32"), example=tokens)
    np.testing.assert_array_equal(read_weights(path / "golden.safetensors")["input"], tokens)
    load_bundle(path, run_golden=True)


def test_one_platform_that_is_not_this_one(tmp_path):
    path = export(tmp_path, platforms=("tpu",))
    with pytest.raises(ValueError, match="was exported for tpu, and this is cpu; export it with"):
        load_bundle(path)


def test_metadata_is_kept(tmp_path):
    path = export(tmp_path, metadata={"accuracy": 0.97, "data": ["digits"]})
    assert load_bundle(path).manifest["metadata"] == {"accuracy": 0.97, "data": ["digits"]}


def test_an_existing_path_is_kept_unless_overwrite(tmp_path):
    path = export(tmp_path)
    old = (path / "weights.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="bundle exists; give overwrite=True"):
        export(tmp_path)
    export(tmp_path, params={"w": PARAMS["w"] * 2}, overwrite=True)
    assert (path / "weights.safetensors").read_bytes() != old
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    given = tmp_path / "file" / "bundle"
    with pytest.raises(
        OSError, match=rf"export: expected .*, but {given} cannot .*choose a folder"
    ):
        export(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "" and len(list(tmp_path.iterdir())) == 1


def test_overwrite_replaces_nothing_but_bundles(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="replaces bundles only: .* is not a bundle"):
        export(tmp_path, overwrite=True)
    (tmp_path / "bundle" / "manifest.json").write_text("{}")  # of a web page, say
    with pytest.raises(FileExistsError, match="replaces bundles only: .* is not of a bundle"):
        export(tmp_path, overwrite=True)
    assert (tmp_path / "bundle" / "thesis.tex").read_text() == "years of work"


def test_a_failure_while_writing_leaves_the_old_bundle_and_nothing_else(tmp_path, monkeypatch):
    path = export(tmp_path)
    old = (path / "manifest.json").read_bytes()

    def full(path, weights):
        raise OSError("No space left on device")

    monkeypatch.setattr(bundle_module, "write_weights", full)
    with pytest.raises(OSError, match="No space left"):
        export(tmp_path, overwrite=True)
    assert (path / "manifest.json").read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"spec": (8, 3)}, ValueError, r"expected a spec \(shape, dtype\) like"),
        ({"spec": ((None, 2, 3), "floaty")}, ValueError, r"expected a spec \(shape, dtype\)"),
        (
            {"spec": np.zeros((4, 2, 3), np.float32)},
            ValueError,
            r"got an array; write \(\(None, 2, 3\), 'float32'\), and the array as example=",
        ),
        ({"spec": ((4, 2, 3), "float32")}, ValueError, "whose first axis, the batch, is None"),
        ({"spec": ((None, None, 3), "float32")}, ValueError, 'are numbers, or names like "T"'),
        ({"spec": ((None, "N", 3), "float32")}, ValueError, r"\(not N, b, .* where .* 'N', 3\)"),
        ({"spec": ((None, 2, 3), "float64")}, ValueError, "without x64 has no float64"),
        ({"spec": ((None, 2, 3), "int32")}, ValueError, "cannot invent a golden input of dtype"),
        ({"example": np.zeros((1, 2, 3))}, TypeError, r"example of float32 \[N, 2, 3\], got flo"),
        ({"classes": ["a", "b"]}, ValueError, "there are 4 probabilities and 2 classes"),
        ({"classes": "abcd"}, TypeError, "expected classes as a sequence of strings, got 'abcd'"),
        ({"platforms": ("gpu",)}, ValueError, r"\(a GPU of NVIDIA is cuda\), got gpu"),
        ({"platforms": ()}, ValueError, "platforms are among cpu, cuda, rocm, tpu .* got none"),
        ({"postprocess": "sigmoid"}, ValueError, "postprocess is .* got 'sigmoid'"),
        ({"postprocess": lambda y: (y, y)}, TypeError, "flat dict of arrays .* tuple; give a post"),
        ({"postprocess": lambda y: y.sum()}, ValueError, 'batch as first axis of output "outputs"'),
        ({"postprocess": lambda y: y.T}, ValueError, r"got \['4', 'b'\]; give a postprocess"),
        ({"metadata": {"x": np.ones(2)}}, TypeError, "metadata must be what JSON can hold"),
        ({"params": {"w": PARAMS["w"] * jnp.nan}}, ValueError, 'gives NaN as "probabilities"'),
        ({"params": PARAMS | {"k": jax.random.key(0)}}, TypeError, "'params.k' is a PRNG key"),
        ({"params": PARAMS | {"a.b": 1.0, "a": {"b": 2.0}}}, ValueError, "two weights .*a.b"),
        ({"function": lambda p, x: x}, ValueError, r"floating logits \[N, K\], got float32 \[b, 2"),
        ({"function": lambda p, x: x[:, 0, :1]}, ValueError, "softmax of one output is 1, what"),
        ({"function": lambda p, x: {"y": x}}, ValueError, r"logits \[N, K\], got dict"),
    ],
)  # fmt: skip
def test_errors(tmp_path, options, kind, text):
    with pytest.raises(kind, match=text):
        export(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_code_that_asks_for_the_batch_size(tmp_path):
    def function(params, x):
        return linear(params, x if x.shape[0] > 3 else x * 2)

    with pytest.raises(ValueError, match=r"asks about a size \(the batch\) that the export leaves"):
        export(tmp_path, function)

    def flat(params, x):
        return linear(params, x.reshape(len(x), -1))

    with pytest.raises(TypeError, match="interpreted as an integer") as caught:
        export(tmp_path, flat)
    assert "write x.shape[0] in place of len(x)" in caught.value.__notes__[-1]


def test_a_program_that_is_not_a_function_of_its_arguments(tmp_path):
    calls = []

    def function(params, x):
        calls.append(1)
        return linear(params, x) * len(calls)

    with pytest.raises(ValueError, match="the exported program differs from the live model by"):
        export(tmp_path, function)
    assert not list(tmp_path.iterdir())


def test_two_exports_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    limit = jax.config.jax_traceback_in_locations_limit
    with ThreadPoolExecutor(4) as pool:
        folders = [tmp_path / str(i) for i in range(4)]
        paths = list(pool.map(export, folders))
    blobs = {(path / "model.stablehlo").read_bytes() for path in paths}
    assert len(blobs) == 1 and b".py" not in blobs.pop()
    assert jax.config.jax_traceback_in_locations_limit == limit


def test_the_precision_around_the_export_is_the_programs(tmp_path):
    with jax.default_matmul_precision("highest"):
        path = export(tmp_path)
    exported = jax_export.deserialize(bytearray((path / "model.stablehlo").read_bytes()))
    assert "HIGHEST" in exported.mlir_module()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (torch.nn.Linear(2, 2), "got PyTorch's Linear; fx.port\\(model\\) writes it for fx"),
        (fx.nn.Linear, "got the class Linear; write it with parentheses"),
        (len, "got builtin_function_or_method$"),
    ],
)
def test_what_is_no_model_is_refused(model, said, tmp_path):
    with pytest.raises(TypeError, match=f"expected a model with apply.*{said}"):
        fx.export(model, {}, {}, ((None, 2), "float32"), tmp_path / "b")
