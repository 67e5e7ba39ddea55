import json

import pytest

from benchmarks import loop


@pytest.mark.slow
def test_the_benchmark_of_the_loop_runs(tmp_path, monkeypatch, capsys):
    out = tmp_path / "loop.json"
    command = ["loop", "--steps", "60", "--rounds", "2", "--host-rounds", "2", "--least-us", "1"]
    command += ["--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    loop.main()
    report = json.loads(out.read_text())
    for part in ("processor_time", "clock_time"):
        found = report[part]
        assert list(found) == [loop.BARE, loop.QUIET, loop.LOGGED, loop.ALL]
        assert found[loop.BARE]["overhead_us"] == [0, 0]
        assert all(len(entry["us_per_call"]) == 2 for entry in found.values())
    assert "overhead us" in capsys.readouterr().out
