"""The speedrun's claim, with programs that only say what they would have found."""

import json
import types

import numpy as np
import pytest

import fx
from benchmarks import gpu, speedrun
from benchmarks.page import plots, sections, verdict
from benchmarks.shared import race

OURS = """
import sys
seed = int(sys.argv[sys.argv.index("--seed") + 1])
for run in range(2):
    note = "" if run else ", compilation included"
    print(f"run {run}: test accuracy {0.94 + 0.01 * run + 0.001 * seed} in {4.0 - 2 * run} s{note}")
"""
REFERENCE = """
import os, sys
if {fails}:
    sys.exit("no CUDA here")
seconds = 8.0
if "TORCH_COMPILE_DISABLE" not in os.environ:
    import torch, torchvision.transforms as T
    data = torch.load("cifar10/train.pt")
    assert data["images"].shape == (4, 32, 32, 3) and data["labels"].dtype == torch.int64
    normalize = T.Normalize(torch.tensor([0.5, 0.0, 0.0]), torch.tensor([0.5, 1.0, 1.0]))
    assert normalize(torch.ones(2, 3, 4, 4)).eq(1).all()
    seconds = 4.0
print("|  run     |  epoch  |  train_acc  |  val_acc  |  tta_val_acc  |  time_seconds  |")
accuracy = 0.1
while True:
    print("|  1       |      0  |     0.5000  |   0.4000  |               |        0.1000  |")
    print(f"|          |   eval  |     0.9000  |   0.9300  |       {accuracy}  |  {seconds}  |")
    accuracy, seconds = 0.945, seconds / 2
"""


@pytest.fixture
def options(tmp_path, monkeypatch):
    """With a checkout whose older program fails."""
    known = types.SimpleNamespace(
        inputs=np.zeros((4, 32, 32, 3), np.uint8), targets=np.arange(4, dtype=np.int32)
    )
    monkeypatch.setattr(fx.data, "cifar10", lambda split: known)
    checkout = tmp_path / "cifar10-airbench"
    (checkout / "legacy").mkdir(parents=True)
    (checkout / "airbench94_muon.py").write_text(REFERENCE.replace("{fails}", "False"))
    (checkout / "airbench96_faster.py").write_text(REFERENCE.replace("{fails}", "False"))
    (checkout / "legacy" / "airbench96.py").write_text(REFERENCE.replace("{fails}", "True"))
    (tmp_path / "ours.py").write_text(OURS)
    given = ["--device", "cpu", "--runs", "2", "--reference", str(checkout)]

    def make(target):
        made = speedrun.arguments([*given, "--target", str(target)])
        made.fx = [str(tmp_path / "ours.py")]
        return made

    return make


def reported(chosen, monkeypatch):
    """The report that the claim leaves."""
    monkeypatch.setattr(speedrun, "arguments", lambda given: chosen)
    speedrun.main(["--target", "94", "--reference", str(chosen.reference)])
    return json.loads(chosen.out.read_text())


def test_rounds_have_seeds_of_their_own_and_what_fails_is_skipped(options):
    chosen = options(96)
    chosen.rounds, chosen.only = 2, [speedrun.FX, speedrun.EAGER]
    found = speedrun.measure(chosen)
    assert [row["accuracies"][0] for row in found[speedrun.FX]["rounds"]] == [0.94, 0.942]
    assert found[speedrun.EAGER] == {"skipped": "no CUDA here"}
    assert speedrun.EAGER not in found[speedrun.FX]["ratios"]


def test_a_program_that_goes_on_is_ended(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text("import time\nprint('waiting', flush=True)\ntime.sleep(60)")
    with pytest.raises(race.Skipped, match="not done within 1 s"):
        speedrun.watch([gpu.sys.executable, str(script)], {}, tmp_path, 2, 1.0)


def test_the_report_and_the_page_say_what_was_found(options, tmp_path, monkeypatch):
    chosen = options(94)
    chosen.out = tmp_path / "speedrun.json"
    entry = reported(chosen, monkeypatch)
    assert entry["command"].endswith("--reference cifar10-airbench")
    assert str(tmp_path) not in chosen.out.read_text()
    ours, compiled, eager = (entry["contenders"][n] for n in (speedrun.FX, *speedrun.PEERS))
    assert ours["first_s"] == 4.0 and ours["median"] == 2.0 and ours["runs"] == 2
    assert ours["accuracy"] == pytest.approx(0.945) and ours["cold_s"] > 0
    assert ours["accuracy_interval"][0] < 0.945 < ours["accuracy_interval"][1]
    assert ours["ratios"][speedrun.COMPILED] == pytest.approx(2 / 1.5)
    # The warm-up, the first of three, has a time and no accuracy.
    assert compiled["first_s"] == 4.0 and compiled["median"] == 1.5
    assert compiled["accuracy"] == 0.945 and compiled["runs"] == 2
    assert eager["first_s"] == 8.0 and eager["median"] == 3.0

    results = {"speedrun-gpu-94": entry}
    text = "\n".join(sections.records(results, "gpu"))
    assert "### To 94 %, GPU" in text and "| fx | 94.50% (" in text and "n = 2) | 2.00 (" in text
    text = "\n".join(verdict.bars(results))
    assert "| GPU: speedrun to 94 %, mean accuracy in % | at least 94.0 | 94.5 | met |" in text
    assert "times the reference's time | at most 1.00 | 1.33 | **missed** |" in text
    assert "| GPU: speedrun to 96 %, mean accuracy in % | at least 96.0 | not run |  |" in text
    lost = verdict.losses(results)
    assert lost == ["- GPU: speedrun to 94 %: fx takes 1.33 times the time of the "
                    "reference, torch.compile."]  # fmt: skip
    assert plots.draw(results, tmp_path) == {("speedrun", "gpu"): "benchmarks-speedrun-gpu.png"}


def test_the_gpu_driver_hands_the_reference_to_the_speedrun_alone():
    stages = {s.name: gpu.with_reference(s, "checkout").arguments for s in gpu.STAGES}
    assert stages["speedrun-94"][-2:] == ("--reference", "checkout")
    assert sum("checkout" in arguments for arguments in stages.values()) == 2
