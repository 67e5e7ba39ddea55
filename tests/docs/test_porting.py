"""docs/porting.md runs as written, and shows what comes out."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.snippets import blocks

PAGE = Path(__file__).parents[2] / "docs" / "porting.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names after all snippets have run; their text is a file, as `fx.port` reads it."""
    folder = tmp_path_factory.mktemp("porting")
    page = ModuleType("page_of_porting")
    page.__file__ = str(folder / "page_of_porting.py")
    code = "\n\n".join(b.code for b in blocks(PAGE) if b.info == "")
    Path(page.__file__).write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(sys.modules, page.__name__, page)
        exec(compile(code, page.__file__, "exec"), vars(page))
    return vars(page)


def test_the_written_file_is_the_one_that_is_shown(names):
    (shown,) = [b for b in blocks(PAGE) if b.info == "ported"]
    assert names["found"].source == shown.code


def test_the_reports_are_those_that_are_shown(names):
    report, made = blocks(PAGE, ("text",))
    printed = str(names["found"]).splitlines()
    assert [each.partition("error")[0] for each in printed] == [
        each.partition("error")[0] for each in report.code.splitlines()
    ]
    assert names["live"].equal and names["live"].source.endswith(made.code)
    (obstacle,) = names["stopped"].obstacles
    assert obstacle.endswith(
        "torch.special.bessel_j0(x): torch.special.bessel_j0 has no counterpart here"
    )


def test_the_file_makes_the_same_model(names):
    assert repr(names["model"]) == repr(names["found"].model)
    assert names["params"].keys() == names["found"].params.keys()


def test_a_model_of_an_installed_package(names):
    assert names["llama"].equal, str(names["llama"])
    assert names["outputs"].loss is names["outputs"][0]
    assert names["outputs"]["logits"].shape == (2, 12, 99)
