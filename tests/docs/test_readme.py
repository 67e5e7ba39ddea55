from pathlib import Path

import pytest

from tests.docs.snippets import blocks

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("page", ["README.md"])
def test_the_snippets_run_in_order_as_written(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    found = blocks(ROOT / page)
    assert found
    for block in found:
        exec(compile(block.code, f"{page}:{block.line}", "exec"), namespace)
    expected = namespace["valid_set"].classes[namespace["valid_set"].targets[0]]
    assert f"'class': '{expected}'" in capsys.readouterr().out


def test_the_example_is_twenty_lines():
    lines = blocks(ROOT / "README.md")[0].code.strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
