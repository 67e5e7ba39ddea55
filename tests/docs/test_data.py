"""docs/data.md: its code runs in order as written, and prints what it says."""

import re
from pathlib import Path

import pytest

from tests.docs.snippets import Row, blocks, parse

PAGE = Path(__file__).parent.parent.parent / "docs" / "data.md"


def test_the_snippets_run_in_order_as_written(tmp_path, monkeypatch, capsys):
    for library in ("PIL", "torch", "datasets", "grain"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    said = []
    for block in blocks(PAGE):
        exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), namespace)
        said += re.findall(r"print\(.*\)  # (.*)|^# (.*)", block.code, re.M)
    expected = [inline or below for inline, below in said]
    assert capsys.readouterr().out.splitlines() == expected and len(expected) == 9
    graded = [batch for epoch in (0, 9) for batch in namespace["graded"].epoch(epoch)]
    assert len(graded) == 8


def test_the_table_of_sources_names_what_there_is():
    from fx import data

    cells = [row.cells[1] for row in parse(PAGE) if isinstance(row, Row) and "with" in row.header]
    named = {name for cell in cells for name in re.findall(r"`(\w+)\(", cell)}
    assert len(cells) == 11 and named <= set(data.__all__)
