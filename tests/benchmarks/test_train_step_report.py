import numpy as np
import pytest

from benchmarks import images, machine, train_step


def entry(*speeds):
    return {
        "first_step_s": 1.5,
        "images_per_s": list(speeds),
        "device_peak_bytes": None,
        "host_growth_bytes": 3 * 2**20,
    }


def test_a_ratio_is_the_median_of_the_rounds():
    found = {
        train_step.EAGER: entry(100.0, 50.0, 200.0),
        "fx": entry(200.0, 150.0, 300.0),
        train_step.COMPILE: {"skipped": "no C++ compiler"},
    }
    train_step.summarise(found)
    assert found["fx"]["median_images_per_s"] == 200.0
    assert found["fx"]["ratio_to_eager"] == 2.0  # of 2, 3 and 1.5
    assert "ratio_to_channels_last" not in found["fx"]
    lines = train_step.table(found).splitlines()
    assert lines[2].split() == ["fx", "1.50", "200", "150", "300", "2.00", "3"]
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[3] == "torch.compile, channels-last: skipped, no C++ compiler"


def test_what_runs_depends_on_the_device():
    options = train_step.arguments(["--device", "cpu"])
    assert options.steps == 8 and options.out.name == "train_step-cpu-float32.json"
    assert train_step.contenders(options, "cpu")[-1] == "fx, JAX's own flags"
    options = train_step.arguments(["--steps-per-call", "50", "--only", "fx, 50 steps a call"])
    assert train_step.contenders(options, "gpu") == ["fx, 50 steps a call"]


def test_without_a_compiler_that_contender_says_so(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(train_step.shutil, "which", lambda name: None)
    with pytest.raises(train_step.Skipped, match=r"no C\+\+ compiler"):
        train_step.begin(train_step.COMPILE, train_step.arguments([]))


def test_batches_are_cifar_where_it_is_found_and_noise_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path))
    pictures, labels, data = images.batches(2, 3, seed=0)
    assert pictures.shape == (2, 3, 32, 32, 3) and pictures.dtype == np.uint8
    assert labels.shape == (2, 3) and data.startswith("noise")
    again, _, _ = images.batches(2, 3, seed=0)
    np.testing.assert_array_equal(pictures, again)

    record = np.concatenate([[7], np.repeat([10, 20, 30], 1024)]).astype(np.uint8)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(record.tobytes() * 4)
    pictures, labels, data = images.batches(2, 3, seed=0)
    assert data == "CIFAR-10" and (labels == 7).all()
    assert (pictures == [10, 20, 30]).all()


def test_the_machine_is_described_without_its_name():
    import platform

    described = machine.machine()
    assert described["cores"] >= 1 and platform.node() not in map(str, described.values())
    assert machine.versions()["jax"] != "not installed"
    assert machine.peak_resident_bytes() >= machine.resident_bytes() // 2 > 0
