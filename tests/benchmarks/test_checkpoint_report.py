import pytest

from benchmarks import checkpoint


def rows(*seconds, held=0.0, left=0.0):
    return [{"seconds": value, "held_s": held, "left_s": left} for value in seconds]


def test_a_cost_is_the_median_of_the_differences_within_the_rounds():
    options = checkpoint.arguments(["--batch", "100", "--steps", "4"])
    rounds = {
        checkpoint.NONE: rows(1.0, 2.0, 4.0),
        checkpoint.SYNC: rows(1.5, 2.6, 5.0, held=0.5),
        checkpoint.ASYNC: rows(1.0, 2.1, 4.2, held=0.01, left=0.2),
    }
    found = checkpoint.summarise({"state_bytes": 2_000_000, "rounds": rounds}, options)
    assert (found["step_s"], found["epoch_s"]) == (0.5, 250.0)
    assert found[checkpoint.SYNC]["cost_s"] == pytest.approx(0.6)
    assert found[checkpoint.SYNC]["share_of_epoch"] == pytest.approx(0.6 / 250)
    assert found[checkpoint.ASYNC]["cost_s"] == pytest.approx(0.1)
    lines = checkpoint.table({"ConvNet": found}).splitlines()
    assert lines[1].split() == ["ConvNet", "2", "500.0", "save", "500.0", "600.0", "0.24%", "0.0"]
    assert lines[2].split()[3:] == ["Writer", "10.0", "100.0", "0.04%", "200.0"]
    assert len({len(line) for line in lines}) == 1
