import json
import sys

import numpy as np
import pytest

from benchmarks import loader, loader_sides


def entry(*speeds):
    return {"data": "noise", "first_epoch_s": 1.5, "images_per_s": list(speeds)}


def test_a_ratio_is_the_median_of_the_rounds_with_the_peer_that_does_the_same():
    found = {
        loader.TORCH: entry(100.0, 50.0, 200.0),
        "fx host": entry(500.0, 400.0, 1400.0),
        loader.TORCH_FLOAT: entry(10.0, 10.0, 10.0),
        "fx compiled, data on the host": entry(90.0, 80.0, 100.0),
        "grain, by image": {"skipped": "ImportError"},
    }
    loader.summarise(found)
    assert found["fx host"]["ratio_to_peer"] == 7.0  # of 5, 8 and 7
    assert found["fx compiled, data on the host"]["ratio_to_peer"] == 9.0
    lines = loader.table(found).splitlines()
    assert lines[2].split() == ["fx", "host", "500", "400", "1,400", "7.0", "1.5"]
    assert lines[-1] == "grain, by image: skipped, ImportError"


@pytest.mark.parametrize("name", ["fx host", "fx compiled, data on the device"])
def test_contenders_give_whole_epochs(name):
    function, options, _ = loader.CONTENDERS[name]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8, 3), np.uint8)
    run = getattr(loader_sides, function)(images, np.arange(20), 8, **options)
    shapes = run(0)
    assert [shape[0] for shape in shapes] == [8, 8, 4]
    assert set(map(tuple, shapes)) <= {(8, 8, 8, 3), (4, 8, 8, 3), (8, 3, 8, 8), (4, 3, 8, 8)}


def test_a_small_run_writes_its_report(tmp_path, monkeypatch, capsys):
    out = tmp_path / "report.json"
    given = [
        "--images",
        "300",
        "--rounds",
        "1",
        "--out",
        str(out),
        "--only",
        loader.TORCH,
        "fx host",
    ]
    monkeypatch.setattr(sys, "argv", ["loader", *given])
    loader.main()
    report = json.loads(out.read_text())
    assert report["contenders"]["fx host"]["ratio_to_peer"] > 0
    assert report["machine"]["load_at_start"] is not None and "grain" in report["versions"]
    assert "x torch" in capsys.readouterr().out
