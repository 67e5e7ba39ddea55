"""Numbers, intervals and tables of several runs."""

import numpy as np
import pytest

import fx
from fx.train.many.runs import Runs


def runs_of(*histories, best=None):
    results = [
        fx.train.Result(None, rows, [], best and {"epoch": best}, "finished") for rows in histories
    ]
    return Runs(tuple(range(len(results))), tuple(results), None, "loop", "asked for")


def row(epoch, loss):
    return {"epoch": epoch, "step": 5 * epoch, "train_loss": loss, "learning_rate": 0.1}


def test_tables_of_runs():
    runs = runs_of([row(1, 0.5), row(2, 0.25)], [row(1, 0.75)], best=1)
    np.testing.assert_array_equal(runs.values("train_loss"), [0.25, 0.75])
    np.testing.assert_array_equal(runs.values("train_loss", "best"), [0.5, 0.75])
    first, second = runs.curve("train_loss")
    assert (first.mean, first.count) == (0.625, 2)
    assert (second.mean, second.count) == (0.25, 1) and np.isnan(second.std)
    half = 12.706204736 * 0.25  # Student's t for one degree of freedom, times the standard error
    assert runs.summary("train_loss").half_width == pytest.approx(half)
    assert runs.table(each=True, digits=2).splitlines() == [
        "2 runs one by one, final epoch (1 to 2)",
        "            mean ± 95 %   std   min   max",
        "train_loss  0.50 ± 3.18  0.35  0.25  0.75",
        "",
        "run  epoch  train_loss",
        "0        2        0.25",
        "1        1        0.75",
    ]
    with pytest.raises(ValueError, match=r"expected a metric of \['train_loss', 'learning_rate'\]"):
        runs.values("loss")
    with pytest.raises(ValueError, match='expected at="final" or at="best", got \'last\''):
        runs.values("train_loss", "last")
