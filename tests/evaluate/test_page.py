import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"


def test_the_page_runs_as_written(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    written = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert written == ["confusion.png", "report.json", "report.txt"]
    assert names["total"].tolist() == [list(row) for row in names["report"].confusion]
