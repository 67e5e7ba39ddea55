import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import fx.deploy
from fx import cli
from fx.cli import main

ROOT = Path(__file__).parents[1]
COLOURS = ["red", "green", "blue"]


class Colour:
    def apply(self, params, state, x):
        return x.mean((1, 2)) * params["scale"], state


def to_float(images):
    return images.astype(jnp.float32) / 255


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "bundle"
    params, spec = {"scale": jnp.full(3, 4.0)}, ((None, 6, 5, 3), "uint8")
    return str(
        fx.deploy.export(Colour(), params, {}, spec, path, preprocess=to_float, classes=COLOURS)
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i, name in enumerate(COLOURS):
        colour = tuple(255 * (i == channel) for channel in range(3))
        Image.new("RGB", (20, 10), colour).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in COLOURS]


def test_predict(bundle, pictures, capsys):
    assert main(["predict", bundle, *pictures[::2]]) == 0
    out, err = capsys.readouterr()
    best = np.exp(4) / (np.exp(4) + 2)
    assert out == f"{pictures[0]}: red {best:.4f}\n{pictures[2]}: blue {best:.4f}\n" and not err


def test_predict_says_what_it_knows_before_it_reads_more(bundle, pictures, capsys, monkeypatch):
    from fx import deploy

    load = deploy.load_bundle
    monkeypatch.setattr(deploy, "load_bundle", lambda path: load(path, max_batch_size=2))
    seen = []
    monkeypatch.setattr(cli, "_answer", lambda engine, image: seen.append(image) or OSError("gone"))
    assert main(["predict", bundle, *pictures, "gone.png"]) == 1
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == pictures[:2]
    assert seen == [pictures[2], "gone.png"] and err == "fx predict: gone\n" * 2


def test_predict_goes_on_after_a_file_that_is_no_image(bundle, pictures, capsys, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    bad = [str(tmp_path / "bad.png"), "gone.png"]
    assert main(["predict", bundle, bad[0], *pictures, bad[1]]) == 1
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == pictures
    first, second = err.splitlines()
    assert bad[0] in first and second == "fx predict: no image file at gone.png"


def test_a_bundle_without_probabilities_is_said_once(bundle, pictures, capsys, monkeypatch):
    def no_probabilities(engine, images):
        raise ValueError("predict: the bundle gives boxes, not probabilities")

    monkeypatch.setattr(fx.deploy.Engine, "iter_predict", no_probabilities)
    assert main(["predict", bundle, *pictures]) == 1
    assert capsys.readouterr().err.count("not probabilities") == 1


def test_predict_top(bundle, pictures, capsys):
    assert main(["predict", bundle, pictures[0], "--top", "2"]) == 0
    assert capsys.readouterr().out == f"{pictures[0]}: red 0.9647, green 0.0177\n"
    assert main(["predict", bundle, pictures[0], "--top", "9"]) == 0
    assert capsys.readouterr().out.endswith("red 0.9647, green 0.0177, blue 0.0177\n")


def test_predict_json(bundle, pictures, capsys):
    assert main(["predict", bundle, *pictures, "--json", "--top", "2"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["class"] for line in found] == COLOURS
    assert [line["image"] for line in found] == pictures
    assert found[2]["class_index"] == 2 and sum(found[2]["probabilities"]) == pytest.approx(1)
    assert found[2]["top"][1] == {
        "class": "red",
        "class_index": 0,
        "probability": found[2]["probabilities"][0],
    }
    assert main(["predict", bundle, pictures[0], "--json"]) == 0
    assert "top" not in json.loads(capsys.readouterr().out)


def test_verify(bundle, capsys):
    assert main(["verify", bundle]) == 0
    assert capsys.readouterr().out.startswith("files: ok\ngolden output on cpu: ok, differs by")


def test_verify_of_a_damaged_bundle(bundle, tmp_path, capsys):
    import shutil

    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "weights.safetensors").write_bytes(b"")
    (copy / "golden.safetensors").unlink()
    assert main(["verify", str(copy)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"fx verify: {copy}: golden.safetensors is missing; weights.safetensors")
    assert err.count("\n") == 1 and not out


def test_inspect(bundle, capsys):
    assert main(["inspect", bundle]) == 0
    out = capsys.readouterr().out
    assert "inputs:\n  input: uint8 [N, 6, 5, 3]\n" in out
    assert "outputs:\n  probabilities: float32 [N, 3]\n" in out
    assert "classes: red, green, blue\n" in out and "platforms: cpu, cuda, tpu\n" in out
    assert "preprocess: " in out
    assert "metadata: none\n" in out and "limits: none\n" in out
    assert "files:\n  model.stablehlo: " in out
    assert main(["inspect", bundle, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == COLOURS


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["predict", "gone", "a.png"], "fx predict: no bundle at gone\n"),
        (["verify", "gone"], "fx verify: no bundle at gone\n"),
        (["inspect", "gone"], "fx inspect: no bundle at gone\n"),
        (["predict", "BUNDLE", "a.png"], "fx predict: no image file at a.png\n"),
    ],
)
def test_failures_are_one_line(bundle, capsys, arguments, text):
    assert main([bundle if a == "BUNDLE" else a for a in arguments]) == 1
    out, err = capsys.readouterr()
    assert err == text and not out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["predict", "bundle"], "the following arguments are required: image"),
        (["predict", "b", "i", "--top", "0"], "argument --top: expected a number of 1 or more"),
        (["predict", "b", "i", "--top", "x"], "argument --top: invalid"),
    ],
)
def test_wrong_usage_exits_with_2(capsys, arguments, text):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2 and text in capsys.readouterr().err


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fx", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_as_a_program(bundle, pictures):
    done = run("predict", bundle, pictures[1])
    assert (done.returncode, done.stdout, done.stderr) == (
        0, f"{pictures[1]}: green 0.9647\n", "",
    )  # fmt: skip
    done = run("predict", "gone", "a.png")
    assert (done.returncode, done.stderr) == (1, "fx predict: no bundle at gone\n")


def test_help_needs_no_jax():
    code = "import sys\ntry:\n import fx.cli; fx.cli.main(['-h'])\nexcept SystemExit: pass\n"
    code += "print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("set()\n"), done.stderr


def test_a_reader_that_stops_is_no_failure(bundle, tmp_path):
    script = f"{sys.executable} -m fx inspect {bundle} --json | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"fx {fx.__version__}\n"
