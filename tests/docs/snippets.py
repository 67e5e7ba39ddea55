"""What the documents hold that can be run: fenced code and rows of tables."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w+-]*) *(?P<info>.*)$")
CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """Fenced code: its language, what follows it on the fence, the code, and the line it is on."""

    language: str
    info: str
    code: str
    line: int
    section: str

    @property
    def title(self) -> str:
        """The first line, where it is a comment: `# PyTorch, setup`."""
        first = self.code.partition("\n")[0]
        return first.removeprefix("#").strip() if first.startswith("#") else ""


@dataclass(frozen=True)
class Row:
    """A row of a table: the table's header, the cells, and the line it is on."""

    header: tuple[str, ...]
    cells: tuple[str, ...]
    line: int
    section: str


def parse(path: Path) -> list[Block | Row]:
    """All fenced code and all rows of tables, in the order of the document."""
    found: list[Block | Row] = []
    section, header, fence = "", None, None
    body: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        opening = FENCE.match(line)
        if fence is not None:
            match, start = fence
            if line.strip() == match["ticks"]:
                code = "\n".join(text.removeprefix(match["indent"]) for text in body) + "\n"
                found.append(Block(match["language"], match["info"], code, start, section))
                fence = None
            else:
                body.append(line)
        elif opening:
            fence, body, header = (opening, number), [], None
        elif line.startswith("|"):
            cells = _cells(line)
            if header is None:
                header = cells
            elif not all(re.fullmatch(":?-+:?", cell) for cell in cells):
                assert len(cells) == len(header), f"{path}:{number}: another number of cells"
                found.append(Row(header, cells, number, section))
        else:
            header = None
            section = line.removeprefix("## ") if line.startswith("## ") else section
    assert fence is None, f"{path}: the fence on line {fence[1]} is not closed"
    return found


def blocks(path: Path, languages: Sequence[str] = ("python",)) -> list[Block]:
    """The fenced code in one of the languages."""
    return [b for b in parse(path) if isinstance(b, Block) and b.language in languages]


def _cells(line: str) -> tuple[str, ...]:
    cells = CELL_BORDER.split(line.strip())[1:-1]
    return tuple(cell.strip().replace(r"\|", "|") for cell in cells)
