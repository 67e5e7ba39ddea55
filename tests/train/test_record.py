import json
import math

import pytest

import fx
from fx.train.record import describe_data, mode_of, name_changes
from tests.train.tiny_run import Batches, data, make


def scripted(values, **options):
    """A run whose validation gives these values, one after the other."""
    step, ts, _ = make()
    values = iter(values)
    options = {"progress": False, "epochs": 10} | options
    return fx.fit(step, ts, Batches(16), validate=lambda ts: next(values), **options)


@pytest.mark.parametrize(
    "values, options, epochs, best, stopped",
    [
        ([{"accuracy": v, "loss": 1.0} for v in (1, 3, 2, 3, 9)], {"patience": 2}, 4, 2, "early"),
        ([{"loss": v} for v in (3.0, 1.0, 2.0, 1.5, 0.0)], {"patience": 2}, 4, 2, "early"),
        (
            [{"accuracy": 1.0, "val_error": v} for v in (3.0, 1.0, 2.0, 0.5)],
            {"patience": 2, "monitor": "val_error", "mode": "min", "epochs": 4},
            4,
            4,
            "finished",
        ),
        ([{"loss": v} for v in (float("nan"), 2.0, float("nan"))], {"epochs": 3}, 3, 2, "finished"),
        ([{"loss": float("nan")}] * 3, {"patience": 3}, 3, None, "early"),
        (  # of a model whose loss is not a number no accuracy counts
            [{"loss": v, "accuracy": a} for v, a in ((0.9, 0.2), (float("nan"), 0.9))],
            {"epochs": 2},
            2,
            1,
            "finished",
        ),
        (
            [{"loss": v, "accuracy": a} for v, a in ((float("nan"), 0.9), (0.9, 0.2))],
            {"epochs": 2},
            2,
            2,
            "finished",
        ),
        (
            [{"loss": 1.0, "perplexity": v} for v in (3.0, 1.0, 2.0)],
            {"monitor": "perplexity", "epochs": 3},
            3,
            2,
            "finished",
        ),
    ],
)
def test_early_stopping(values, options, epochs, best, stopped):
    result = scripted(values, **options)
    assert result.stopped == stopped
    assert len(result.history) == epochs
    assert (result.best and result.best["epoch"]) == best


def test_patience_counts_across_a_resume(tmp_path):
    worse = [{"accuracy": -float(n)} for n in range(9)]
    scripted(worse, epochs=2, out=tmp_path)
    result = scripted(worse[2:], patience=3, out=tmp_path, resume=True)
    assert result.stopped == "early" and len(result.history) == 4
    assert scripted([], patience=3, out=tmp_path, resume=True).stopped == "early"


def test_a_diverged_run_leaves_strict_json_and_goes_on_exactly(tmp_path):
    nan = [{"loss": float("nan")}, {"loss": float("inf")}, {"loss": 1.0}]
    scripted(nan, epochs=2, out=tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "history.json").read_text(), parse_constant=refuse)
    assert [row["val_loss"] for row in read["history"]] == [None, None]
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    history = scripted(nan[2:], epochs=3, out=tmp_path, resume=True).history
    assert math.isnan(history[0]["val_loss"]) and math.isinf(history[1]["val_loss"])


def test_other_batches_are_named():
    inputs, targets = data(50)
    dataset = fx.data.Dataset(inputs, targets)
    one = describe_data(fx.data.Loader(dataset, 8, seed=3))
    assert one == describe_data(fx.data.Loader(dataset, 8, seed=3, on_device=True, prefetch=0))
    ordered = describe_data(fx.data.Loader(dataset, 8, seed=3, shuffle=False))
    assert name_changes(one, ordered) == "shuffle was True and is False"
    dropping = describe_data(fx.data.Loader(dataset, 8, seed=3, drop_last=True))
    expected = "steps_per_epoch was 7 and is 6, drop_last was False and is True"
    assert name_changes(one, dropping) == expected
    other = describe_data(fx.data.Loader(fx.data.Dataset(inputs + 1, targets), 8, seed=3))
    assert name_changes(one, other).startswith("fingerprint was ")
    shorter = describe_data(fx.data.Loader(dataset.subset(range(49)), 8, seed=3))
    assert "examples was 50 and is 49" in name_changes(one, shorter)
    assert describe_data([1, 2]) == {"steps_per_epoch": 2}


@pytest.mark.parametrize(
    "names, mode",
    [
        (["loss", "val_loss", "perplexity", "top_1_error"], "min"),
        (["accuracy", "roc_auc", "AUC", "f1", "precision", "recall", "brier_skill_score"], "max"),
    ],
)
def test_names_that_tell_their_mode(names, mode):
    assert {mode_of(name) for name in names} == {mode}
