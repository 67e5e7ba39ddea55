"""docs/recipes.md: each recipe runs by itself, after the first block, and prints what it says."""

import re
from pathlib import Path

import pytest

from tests.docs.snippets import Row, blocks, parse

PAGE = Path(__file__).parent.parent.parent / "docs" / "recipes.md"
FIRST, *FOUND = blocks(PAGE)
SECTIONS = list(dict.fromkeys(block.section for block in FOUND))


def run(block, names):
    exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), names)


@pytest.fixture(scope="module")
def start():
    names: dict = {}
    run(FIRST, names)
    return names


# Two halves, so that two processes share them.
@pytest.mark.parametrize("half", [0, 1])
def test_each_recipe_runs_by_itself_and_prints_what_it_says(half, start, capsys):
    for section in SECTIONS[half::2]:
        names, said = dict(start), []
        for block in (block for block in FOUND if block.section == section):
            run(block, names)
            said += re.findall(r"^print\(.*\)  # (?:.*: )?(.*)", block.code, re.M)
        lines = capsys.readouterr().out.splitlines()
        # A slow machine is told so, and what would help.
        lines = [line for line in lines if not line.startswith("the first call took")]
        assert said and lines == said, section


def test_a_recipe_is_short():
    for block in FOUND:
        lines = [line for line in block.code.splitlines() if line.strip()]
        assert len(lines) <= 43 and all(len(line) <= 100 for line in lines), block.line


def test_the_table_of_contents_has_every_recipe():
    rows = [row for row in parse(PAGE) if isinstance(row, Row) and row.header[0] == ""]
    listed = [re.fullmatch(r"\[(.*)\]\(#(.*)\)", row.cells[0]).groups() for row in rows]
    assert [title for title, _ in listed] == [*SECTIONS, "Shown elsewhere"]
    for title, anchor in listed:
        assert anchor == re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))
