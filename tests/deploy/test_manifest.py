"""Bundles whose manifest or golden file says something else than the program."""

import json
import shutil

import pytest

import fx
from fx.deploy import load_bundle
from fx.interop.weights import read_weights, write_weights


class Difference:
    def apply(self, params, state, batch):
        return batch["a"] - 2 * batch["b"], state


@pytest.fixture(scope="module")
def difference(tmp_path_factory):
    spec = {name: ((None, "H", 2), "float32") for name in "ab"}
    return fx.export(Difference(), {}, {}, spec, tmp_path_factory.mktemp("dict") / "bundle",
                     postprocess=None, limits={"H": range(2, 9, 2)})  # fmt: skip


A, B = ({"name": name, "shape": [None, "H", 2], "dtype": "float32"} for name in "ab")
OTHER = "different exports: copy or export"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"inputs": [B, A]}, OTHER),
        ({"inputs": [A, {**B, "name": "c"}]}, OTHER),
        ({"inputs": [A, {**B, "shape": [None, "W", 2]}]}, OTHER),
        ({"limits": {}}, OTHER),
        ({"limits": {"H": [1, 8, 1]}}, OTHER),
        ({"limits": {"W": [1, 8, 1]}}, OTHER),
        ({"inputs": [A, A]}, '"inputs" is .* which no export writes; copy or export'),
        ({"inputs": [A, 2]}, '"inputs" is'),
        ({"inputs": [A, {"name": "b", "dtype": "float32"}]}, '"inputs" is'),
        ({"inputs": [A, {**B, "shape": [None, None, 2]}]}, '"inputs" is'),
        ({"outputs": [1]}, '"outputs" is'),
        ({"limits": None}, '"limits" is None'),
        ({"limits": {"H": 8}}, '"limits" is'),
        ({"limits": {"H": [2, 8, 0]}}, '"limits" is'),
        ({"limits": {"H": [8, 2, 2]}}, '"limits" is'),
        ({"golden": {}}, '"golden" is {}'),
        ({"platforms": [["cpu"]]}, '"platforms" is'),
        ({"classes": 5}, '"classes" is 5'),
    ],
)
def test_manifests_of_other_inputs(difference, tmp_path, fields, text):
    path = shutil.copytree(difference, tmp_path / "copy")
    contents = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(contents | fields))
    with pytest.raises(ValueError, match=text):
        load_bundle(path)


@pytest.mark.parametrize("name", ["input.a", "output.outputs"])
def test_golden_files_that_lack_an_entry(difference, tmp_path, name):
    path = shutil.copytree(difference, tmp_path / "copy")
    kept = read_weights(path / "golden.safetensors")
    del kept[name]
    write_weights(path / "golden.safetensors", kept)
    with pytest.raises(ValueError, match="golden.safetensors: expected input.a, input.b, output"):
        load_bundle(path, verify=False, run_golden=True)
