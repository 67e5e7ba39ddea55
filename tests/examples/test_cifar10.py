"""The reference pipeline as a user runs it."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import fx
from examples import cifar10

ROOT = Path(__file__).parent.parent.parent
QUICK = ["--data", "digits", "--limit", "128", "--batch-size", "64"]


def test_the_whole_pipeline(tmp_path, capsys):
    out = tmp_path / "run"
    assert cifar10.main([*QUICK, "--epochs", "2", "--out", str(out)]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.fullmatch(rf"test accuracy: 0\.\d{{4}}  bundle: {re.escape(str(out))}/bundle", last)
    pictures = ["learning_curves.png", "confusion_matrix.png", "predictions.png"]
    texts = ["report.txt", "report.json", "history.json", "log.jsonl", "bundle/manifest.json"]
    for name in pictures + texts:
        assert (out / name).stat().st_size > 0, name
    test = fx.data.digits("test")
    engine = fx.load_bundle(out / "bundle")
    accuracy = np.mean([
        answer["class_index"] == label
        for answer, label in zip(engine.batch_predict(test.inputs), test.targets)
    ])  # fmt: skip
    assert f"{accuracy:.4f}" in last
    assert json.loads((out / "report.json").read_text())["accuracy"] == pytest.approx(accuracy)

    with pytest.raises(FileExistsError):  # a finished run is not overwritten unasked
        cifar10.main([*QUICK, "--epochs", "2", "--out", str(out)])
    assert cifar10.main([*QUICK, "--epochs", "2", "--out", str(out), "--resume"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == last


def test_overwrite_deletes_nothing_but_a_run(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    cifar10.discard(tmp_path)
    assert (tmp_path / "precious.txt").exists()
    (tmp_path / "log.jsonl").write_text("")
    cifar10.discard(tmp_path)
    assert not tmp_path.exists()


def test_digits_are_never_flipped():
    args = cifar10.parse(["--data", "digits"])
    train_set, _, _ = cifar10.load(args)
    augment, _ = cifar10.make_transforms(args, train_set)
    assert "Flip" not in repr(augment) and "Rotation" in repr(augment)


@pytest.mark.parametrize("name", ["--limit", "--epochs", "--batch-size"])
def test_counts_are_of_one_or_more(capsys, name):
    with pytest.raises(SystemExit):
        cifar10.main([name, "0"])
    assert f"argument {name}: expected 1 or more, got 0" in capsys.readouterr().err


def test_a_diverged_run_says_so(tmp_path, capsys, monkeypatch):
    def diverge(step, ts, loader, **options):
        return fx.train.Result(ts, [], [], best=None, stopped="early")

    monkeypatch.setattr(fx, "fit", diverge)
    assert cifar10.main([*QUICK, "--out", str(tmp_path)]) == 1
    assert "validation never gave a finite accuracy" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_make_train_gets_above_97_percent(tmp_path):
    """The arguments that the Makefile gives, but for the folder."""
    line = re.search(
        r"^\t\S*python examples/cifar10.py (.*)$", (ROOT / "Makefile").read_text(), re.M
    )
    assert line is not None
    arguments = line.group(1).split()
    arguments[arguments.index("--out") + 1] = str(tmp_path / "digits")
    done = subprocess.run(
        [sys.executable, "examples/cifar10.py", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=880,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    found = re.fullmatch(r"test accuracy: (0\.9\d{3})  bundle: (.+)", last)
    assert found is not None and float(found.group(1)) > 0.97, last
    assert (Path(found.group(2)) / "manifest.json").is_file()


@pytest.mark.slow
def test_ctrl_c_and_resume_give_the_same_weights(tmp_path):
    """SIGINT in the middle of an epoch, the same command with --resume: equal to the bit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("this process was started with SIGINT ignored, which its children inherit")
    command = [sys.executable, "examples/cifar10.py", *QUICK, "--epochs", "4", "--out"]
    said = tmp_path / "said.txt"

    @contextlib.contextmanager
    def run(out, *more):
        with said.open("w") as file:
            yield subprocess.Popen([*command, str(out), *more], cwd=ROOT, stdout=file)

    with run(tmp_path / "whole") as process:
        assert process.wait(600) == 0
    with run(tmp_path / "broken") as process:
        log = tmp_path / "broken" / "log.jsonl"
        while not log.exists() or not log.read_text().strip():  # after the first epoch
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(600) == 130
    assert "interrupted" in said.read_text()
    with run(tmp_path / "broken", "--resume") as process:
        assert process.wait(600) == 0
    first, second = (
        load_file(tmp_path / n / "bundle/weights.safetensors") for n in ("whole", "broken")
    )
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    histories = [(tmp_path / n / "history.json").read_text() for n in ("whole", "broken")]
    assert [strip(h) for h in histories][0] == [strip(h) for h in histories][1]


def strip(history: str):
    """The history without times."""
    found = json.loads(history)
    return found["history"] if isinstance(found, dict) else found
