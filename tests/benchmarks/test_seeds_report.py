import json

import pytest

from benchmarks import seeds


def test_the_speed_up_is_the_median_of_the_rounds():
    found = {"together_s": [1.0, 2.0, 4.0], "one_by_one_s": [2.0, 8.0, 4.0]}
    assert seeds.summarise(found) == {
        "median_together_s": 2.0,
        "median_one_by_one_s": 4.0,
        "speed_up": 2.0,  # of 2, 4 and 1
    }
    entry = found | seeds.summarise(found)
    entry |= {"together_compile_s": 1.25, "one_by_one_compile_s": 0.5}
    entry |= {"together_bytes": 3 * 2**20, "one_by_one_bytes": None}
    line = seeds.table({"mlp": entry}).splitlines()[1]
    assert line.split() == ["mlp", "2.000", "4.000", "2.00", "1.2", "0.5", "3.0", "0.0"]


SMALL = ["--models", "mlp", "--seeds", "2", "--batch", "4", "--steps", "2", "--rounds", "1"]


def test_both_ways_run_and_agree(tmp_path, capsys):
    out = tmp_path / "seeds.json"
    seeds.main([*SMALL, "--out", str(out)])
    report = json.loads(out.read_text())
    entry = report["models"]["mlp"]
    assert entry["relative_difference"] < seeds.TOLERANCE
    assert len(entry["together_s"]) == len(entry["one_by_one_s"]) == 1
    assert report["settings"]["seeds"] == 2 and "load_at_start" in report["machine"]
    assert "speed-up" in capsys.readouterr().out


def test_ways_that_do_not_agree_end_the_program(monkeypatch):
    monkeypatch.setattr(seeds.Race, "difference", lambda self: 0.5)
    with pytest.raises(SystemExit, match="the ways came to other weights, 5.0e-01 apart"):
        seeds.main(SMALL)
