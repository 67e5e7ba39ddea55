"""docs/from-pytorch.md: both sides of every row and of every pair of blocks, run and compared."""

import ast
import copy
import doctest
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.docs.snippets import Block, Row, parse

PAGE = Path(__file__).parents[2] / "docs" / "from-pytorch.md"
FOUND = parse(PAGE)
SIDES = ("PyTorch", "fx")
SAME_DISTRIBUTION = "fx (same distribution)"
# float32: the two libraries' elementary functions and orders of summation differ in the last bits.
TOLERANCE = {
    "float64": 1e-12,
    "float32": 2e-5,
    "complex64": 2e-5,
    "float16": 1e-3,
    "bfloat16": 8e-3,
}


@dataclass(frozen=True)
class Pair:
    """Code for both sides, the code that comes before it on each, and how to compare."""

    section: str
    line: int
    torch: str
    fx: str
    before: dict[str, tuple[str, ...]]
    distribution: bool


def collect() -> list[Pair]:
    """All pairs of the page; what is none of setup, pair and trap is an error."""
    imports: dict[str, list[str]] = {side: [] for side in SIDES}
    before, section, waiting, pairs = imports, "", None, []
    for item in FOUND:
        if item.section != section:
            assert waiting is None, f"line {waiting.line}: a PyTorch block without its fx block"
            section, before = item.section, {side: [*imports[side]] for side in SIDES}
        if isinstance(item, Row):
            if item.header[1:] in (("fx",), (SAME_DISTRIBUTION,)):
                codes = [_span(cell, item.line) for cell in item.cells]
                pairs.append(_pair(item, codes, before, item.header[1] == SAME_DISTRIBUTION))
        elif item.language == "python":
            if item.title == "both":
                for side in SIDES:
                    before[side].append(item.code)
            elif item.title.endswith(", setup"):
                before[item.title.removesuffix(", setup")].append(item.code)
            elif item.title == "PyTorch":
                assert waiting is None, f"line {waiting.line}: a PyTorch block without its fx block"
                waiting = item
            else:
                assert item.title in ("fx", SAME_DISTRIBUTION), f"line {item.line}: {item.title!r}"
                codes = [waiting.code, item.code]
                pairs.append(_pair(item, codes, before, item.title == SAME_DISTRIBUTION))
                waiting = None
    assert waiting is None
    return pairs


def _pair(item: Row | Block, codes: list[str], before: dict, distribution: bool) -> Pair:
    so_far = {side: tuple(code) for side, code in before.items()}
    return Pair(item.section, item.line, *codes, so_far, distribution)


def _span(cell: str, line: int) -> str:
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"line {line}: expected one code span, got {cell}"
    return match[1]


PAIRS = collect()


def run(code: str, names: dict[str, Any], line: int) -> Any:
    """The value of an expression, the variable that a statement assigns, or `result`."""
    tree = ast.parse(code)
    where = f"{PAGE.name}:{line}"
    if "\n" in code:
        exec(compile(code, where, "exec"), names)
        return names["result"]
    (statement,) = tree.body
    if isinstance(statement, ast.Expr):
        return eval(compile(code, where, "eval"), names)
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    exec(compile(code, where, "exec"), names)
    while not isinstance(target, ast.Name):
        target = target.value
    return names[target.id]


def namespace(monkeypatch) -> dict[str, Any]:
    """Names of a module of its own, as classes expect it."""
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    return vars(module)


def both(pair: Pair, monkeypatch) -> tuple[Any, Any]:
    """Run the setup of both sides, then the two codes."""
    torch.manual_seed(0)
    left, right = namespace(monkeypatch), namespace(monkeypatch)
    for code in pair.before["PyTorch"]:
        exec(compile(code, PAGE.name, "exec"), left)
    given = left.get("weights")
    right["weights"] = copy.deepcopy(given)  # a snapshot: torch goes on changing its own
    for code in pair.before["fx"]:
        exec(compile(code, PAGE.name, "exec"), right)
    torch.manual_seed(0)
    expected = run(pair.torch, left, pair.line)
    if left.get("weights") is not given:
        right["weights"] = copy.deepcopy(left["weights"])
    return expected, run(pair.fx, right, pair.line)


def plain(value: Any) -> Any:
    """Tensors and arrays as NumPy with their dtype's name; containers as tuples and dicts."""
    if isinstance(value, torch.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        value = value.detach()
        return (value.float() if name == "bfloat16" else value).numpy(), name
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        wide = np.asarray(value, np.float32) if value.dtype.name == "bfloat16" else value
        return np.asarray(wide), value.dtype.name
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    assert isinstance(value, bool | int | float | complex | str | None), type(value)
    return value


def compare(expected: Any, found: Any) -> None:
    """Equal structure, shapes, dtypes (but for the width of integers) and values."""
    if isinstance(expected, tuple):
        (a, a_dtype), (b, b_dtype) = expected, found
        assert a.shape == b.shape
        assert a_dtype.replace("int64", "int32") == b_dtype.replace("int64", "int32")
        tolerance = TOLERANCE.get(a_dtype, 0)
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    elif isinstance(expected, dict):
        assert list(expected) == list(found) or sorted(expected) == sorted(found)
        for name in expected:
            compare(expected[name], found[name])
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(expected) == len(found)
        for a, b in zip(expected, found):
            compare(a, b)
    elif isinstance(expected, float):
        assert type(found) is float
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE["float32"], atol=1e-6)
    else:
        assert type(expected) is type(found) and expected == found


def compare_distributions(expected: Any, found: Any) -> None:
    """Equal shapes and dtypes, and distribution functions that are as near as chance allows."""
    (a, a_dtype), (b, b_dtype) = expected, found
    assert a.shape == b.shape and a.size >= 1000
    assert a_dtype.replace("int64", "int32") == b_dtype.replace("int64", "int32")
    a, b = np.sort(a.ravel()), np.sort(b.ravel())
    at = np.union1d(a, b)
    apart = np.searchsorted(a, at, "right") - np.searchsorted(b, at, "right")
    # Kolmogorov and Smirnov's bound for samples of one size; chance exceeds it once in 10,000.
    assert np.abs(apart).max() / a.size < 2.2 * np.sqrt(2 / a.size)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"line-{pair.line}")
def test_both_sides_agree(pair, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    expected, found = both(pair, monkeypatch)
    if expected is None and found is None:  # a row about printing
        lines = capsys.readouterr().out
        half = len(lines) // 2
        assert lines and lines[:half] == lines[half:]
        return
    check = compare_distributions if pair.distribution else compare
    check(plain(expected), plain(found))


def test_traps_are_as_described(monkeypatch):
    names = namespace(monkeypatch)
    for item in FOUND:
        if isinstance(item, Block) and item.section == "" and item.title in ("both", "fx, setup"):
            exec(item.code, names)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    tried = 0
    for block in [item for item in FOUND if isinstance(item, Block) and item.language == "pycon"]:
        get = doctest.DocTestParser().get_doctest
        test = get(block.code, names, PAGE.name, PAGE.name, block.line)
        test.globs = names  # not a copy: the blocks share their names, as in a reader's session
        with jax.numpy_dtype_promotion("standard"):  # what a reader has who sets nothing
            tried += runner.run(test, out=report.append, clear_globs=False).attempted
    assert not runner.failures, "".join(report)
    assert tried >= 20


def test_nothing_on_the_page_is_passed_over():
    lines = PAGE.read_text().splitlines()
    rows = [n for n, line in enumerate(lines, 1) if re.match(r"\| *`.* \| `", line)]
    titles = Counter(item.title for item in FOUND if isinstance(item, Block))
    run_lines = [pair.line for pair in PAIRS]
    table = [n for n in run_lines if lines[n - 1].startswith("|")]
    assert table == [n for n in rows if n < lines.index("## What has no counterpart")]
    assert len(run_lines) - len(table) == titles["PyTorch"]
    assert titles["PyTorch"] == titles["fx"] + titles[SAME_DISTRIBUTION]
    fences = sum(line.startswith("```") for line in lines)
    assert fences == 2 * len([item for item in FOUND if isinstance(item, Block)])
    assert len(set(run_lines)) == len(run_lines) >= 100


def test_links_within_the_page_lead_somewhere():
    text = re.sub("```.*?```|`[^`\n]*`", "", PAGE.read_text(), flags=re.S)
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall("^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert (PAGE.parent / file).exists() if file else anchor in headings, target
