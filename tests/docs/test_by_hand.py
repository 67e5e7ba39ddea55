"""docs/by-hand.md: what fx.fit does, written out, ends with the same weights to the bit."""

from pathlib import Path

import jax
import pytest

import fx
from tests.docs.snippets import Block, parse
from tests.train.tiny_run import assert_same_bits

PAGE = Path(__file__).parent.parent.parent / "docs" / "by-hand.md"


@pytest.mark.emitters  # else the two programs round differently
def test_both_ways_end_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    setup, by_hand, with_fit, checkpoint = (
        block.code for block in parse(PAGE) if isinstance(block, Block)
    )
    shared: dict = {}
    # As in a program of the user's: optax's own Adam does not run under strict promotion.
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(setup, str(PAGE), "exec"), shared)
        hand, fit = dict(shared), dict(shared)
        exec(compile(by_hand, str(PAGE), "exec"), hand)
        exec(compile(with_fit, str(PAGE), "exec"), fit)
        exec(compile(checkpoint, str(PAGE), "exec"), hand)
    result = fit["result"]
    ts = hand["ts"]
    moments = ts.opt_state[1][0]
    assert_same_bits(
        (ts.step, ts.params, ts.state, moments, ts.key),
        (result.ts.step, result.ts.params, result.ts.state, result.ts.opt_state[1], result.ts.key),
    )
    rows = [(row["train_loss"], row["val_accuracy"]) for row in result.history]
    assert rows == hand["history"]
    assert len(rows) > 2 and rows[-1][0] < rows[0][0]
    best, _ = fx.checkpoint.restore("runs/by-hand", like=result.ts, which="best")
    assert_same_bits((best.params, best.state), hand["best_weights"])
    assert result.best["value"] == hand["best"]
    assert hand["loop_state"] == {"epoch": len(rows) - 1, "best": hand["best"]}
    assert len([line for line in by_hand.splitlines() if line]) <= 40
