"""docs/models.md runs as written, from top to bottom, and prints what it says."""

import json
import re
from pathlib import Path

import chex
import jax.numpy as jnp

from tests.docs.snippets import Row, blocks, parse

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/models.md"


def test_the_snippets_run_in_order_as_written(capsys):
    names: dict = {}
    said = []
    for block in blocks(PAGE):
        exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), names)
        said += re.findall(r"^print\(.*\)  # (.*)", block.code, re.M)
    assert capsys.readouterr().out.splitlines() == said and len(said) == 10
    chex.assert_trees_all_close(names["same"], names["kept"], rtol=1e-4, atol=1e-6)
    assert names["importance"].shape == (32,) and bool((names["importance"] > 0).any())
    assert bool(jnp.isfinite(names["y"]).all())


def test_the_table_is_what_was_measured():
    report = json.loads((ROOT / "benchmarks/results/depth-cpu.json").read_text())
    rows = [row for row in parse(PAGE) if isinstance(row, Row) and row.header[0] == "layers"]
    assert [row.cells[0] for row in rows] == list(report["ways"]["Stack"])
    for row in rows:
        expected = [row.cells[0]]
        for way in ("Stack", "Sequential"):
            found = report["ways"][way].get(row.cells[0])
            seconds = found and f"{found['trace_s']:.2f}, {found['compile_s']:.2f}"
            expected += [seconds, f"{found['equations']:,.0f}"] if found else ["not tried", ""]
        assert list(row.cells) == expected
    assert report["ratios"]["Stack"] <= 1.5
