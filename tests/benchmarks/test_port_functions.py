import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from benchmarks import port_functions


def test_arguments_as_text():
    tensors = []
    value = [1.5, torch.ones(2), (torch.zeros(3),), torch.float32, None, float("inf")]
    text = port_functions.written(value, tensors)
    assert text == '[1.5, x0, (x1,), torch.float32, None, float("inf")]'
    assert [len(tensor) for tensor in tensors] == [2, 3]
    with pytest.raises(TypeError, match="no text for Generator"):
        port_functions.written(torch.Generator(), tensors)


def test_a_call_is_ported_or_refused_with_its_line_or_none_of_torch():
    x = torch.full((3,), 1.5)
    assert port_functions.ported("torch.acosh(x0)", [x]) == "equal"
    assert port_functions.ported("torch.special.bessel_j0(x0)", [x]).startswith(
        "net.py:7: torch.special.bessel_j0(x0): torch.special.bessel_j0 has no counterpart"
    )
    assert port_functions.ported("torch.acosh(x0, 3, 4)", [x]) is None


def test_the_page_has_the_figures_of_the_results():
    root = Path(port_functions.__file__).parents[1]
    found = json.loads((port_functions.RESULTS / "port-functions.json").read_text())
    results = found["results"].values()
    kinds = Counter(
        "all" if not c.get("not") else "some" if c.get("equal") else "none" for c in results
    )
    assert found["summary"]["functions"] == kinds
    equal, calls = sum(c.get("equal", 0) for c in results), sum(sum(c.values()) for c in results)
    page = " ".join((root / "docs/porting.md").read_text().split())
    assert f"Of {len(results)} functions {kinds['all']} are equal on all samples" in page
    assert f"{equal} of {calls:,} calls), {kinds['some']} on some, and {kinds['none']} on" in page
