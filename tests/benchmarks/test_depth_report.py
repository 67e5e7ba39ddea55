import json

import pytest

from benchmarks import depth


@pytest.mark.slow
def test_a_small_run_writes_its_report(tmp_path, capsys):
    out = tmp_path / "report.json"
    given = ["--depths", "1", "3", "--dim", "8", "--rounds", "1", "--out", str(out)]
    ratios = depth.main(given)
    report = json.loads(out.read_text())
    assert report["ratios"] == ratios and set(ratios) == {"Stack", "Sequential"}
    rows = report["ways"]
    assert rows["Stack"]["1"]["equations"] == rows["Stack"]["3"]["equations"]
    assert rows["Sequential"]["1"]["equations"] < rows["Sequential"]["3"]["equations"]
    assert "Stack: the deepest takes" in capsys.readouterr().out


def test_a_ratio_is_that_of_the_deepest_to_the_shallowest():
    found = {"Stack": {"48": {"total_s": 3.0}, "4": {"total_s": 2.0}, "12": {"total_s": 9.0}}}
    assert depth.ratios(found) == {"Stack": 1.5}
