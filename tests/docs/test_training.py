"""docs/training.md runs as written, from top to bottom."""

from pathlib import Path

import pytest

import fx
from tests.docs.snippets import Row, blocks, parse

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/training.md"


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    found: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("training"))
        for block in blocks(PAGE):
            exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), found)
    return found


def test_the_snippets_run_in_order(namespace):
    assert sorted(namespace["metrics"]) == [
        "accuracy", "finite", "grad_norm", "learning_rate", "learning_rate/*.bias, <lambda>",
        "learning_rate/default", "loss", "weight/accuracy",
    ]  # fmt: skip
    assert float(namespace["rate"]) == pytest.approx(0.01)
    assert namespace["result"].stopped == "finished"
    assert len(namespace["runs"]) == 4
    teacher = namespace["start"].params["teacher"]
    assert (
        set(teacher) == {"0", "1", "5"}
        and "running_mean" in namespace["start"].state["teacher"]["1"]
    )
    (row,) = namespace["agreed"].history
    assert 0 < row["train_loss"] < 3 and 0 < row["train_noisy_loss"] < 3
    assert namespace["tried"].values("learning_rate") == pytest.approx([1e-3, 1e-2, 1e-1])
    assert namespace["swept"].values("train_loss").shape == (4,)
    assert float(abs(namespace["learned"].params["log_vars"]).min()) > 0
    rates = fx.optim.current_lrs(namespace["late"].init(namespace["params"]))
    assert rates == {"0.*": 0.0, "default": pytest.approx(1e-2)}
    assert namespace["sweep"].suggestion is not None


def test_the_rows_name_what_is_there(namespace):
    """Each cell of the table of optimizers is code, or names functions of fx.optim."""
    rows = [r for r in parse(PAGE) if isinstance(r, Row) and r.header == ("PyTorch", "fx")]
    assert len(rows) == 8
    names = {name: namespace[name] for name in ("fx", "optim", "optimizer")} | {"start": 3}
    for row in rows:
        for code in row.cells[1].split("`")[1::2]:
            code = code.replace("make_step(", "dict(")
            found = eval(code, dict(names))
            assert found is not None, code
