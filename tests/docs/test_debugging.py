"""docs/debugging.md: its snippets run in order, and print what the page says."""

import re
from pathlib import Path

import pytest

from tests.docs.snippets import blocks

PAGE = Path(__file__).parent.parent.parent / "docs" / "debugging.md"


@pytest.mark.slow
def test_the_snippets_run_in_order_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Named so that the X-ray can read its source: a file like the user's.
    found, namespace, printed = blocks(PAGE), {}, []
    for number, block in enumerate(found):
        path = tmp_path / f"snippet{number}.py"
        path.write_text(block.code)
        exec(compile(block.code, str(path), "exec"), namespace)
        printed.append(capsys.readouterr().out)
    report = namespace["report"]
    assert (report.layer, report.operation, report.samples) == ("light", "log", (5,))
    assert "jnp.log(jnp.mean(x" in report.line.code and "nan in layer" in str(report)
    assert (tmp_path / "crash" / "report.txt").exists()
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["conv.png", "fc.png"]
    everything = "".join(printed)
    assert "'light': False" in everything and "what to try:" in everything
    for shown in blocks(PAGE, ["text"]):
        for line in plain(shown.code).splitlines():
            assert line in plain(everything)


def plain(text: str) -> str:
    """Without what differs from machine to machine: the file's name, and digits of numbers."""
    text = re.sub(r"\w+\.py", "file.py", text)
    return re.sub(r"-?\d[\d.e-]*", "#", re.sub(" +", " ", text))
