import argparse
import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import ports


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        if x.shape[-1] < 96:
            raise ValueError("too small")
        return self.fc(self.conv(x).mean((2, 3)))


def given(**changed):
    return argparse.Namespace(
        library="torchvision", parameters=1.0, limit_s=60, narrow=False, **changed
    )


def test_an_architecture_is_tried_on_its_smallest_input(monkeypatch):
    monkeypatch.setattr(ports, "maker", lambda library, name, narrow=False: Small)
    found = ports.tried("small", given())
    assert found["result"] == "equal" and found["constructors"] == "ported"
    assert found["input"] == [1, 3, 96, 96] and found["error"] < 1e-5


def test_large_ones_are_passed_over_and_failures_are_named(monkeypatch):
    monkeypatch.setattr(
        ports, "maker", lambda library, name, narrow=False: lambda: nn.Linear(2000, 1000)
    )
    assert ports.tried("large", given())["result"] == "too large"
    monkeypatch.setattr(
        ports, "maker", lambda library, name, narrow=False: lambda: nn.Linear(3, 3)[0]
    )
    found = ports.tried("broken", given())
    assert found["result"] == "obstacle" and found["reason"].startswith("TypeError: ")


def test_the_smallest_of_each_module_comes_first(monkeypatch):
    modules = {"a": ["a_large", "a_small"], "b": ["b_huge"]}
    sizes = {"a_large": 30, "a_small": 1, "b_huge": 500}
    timm = SimpleNamespace(
        models=SimpleNamespace(list_modules=lambda: list(modules)),
        list_models=lambda module: modules[module],
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setattr(ports, "maker", lambda library, name, narrow=False: name)
    monkeypatch.setattr(ports, "millions", lambda name: sizes[name])
    assert ports.smallest_names(sorted(sizes)) == ["a_small", "b_huge", "a_large"]


def test_the_share_is_of_those_that_were_tried():
    results = {
        "a": {"result": "equal"},
        "b": {"result": "obstacle", "reason": "file.py:3: no counterpart"},
        "c": {"result": "too large", "reason": "99 million parameters"},
    }
    first, second = ports.summary(results).splitlines()
    assert first.startswith("1 of 2 tried are equal (50%)")
    assert second.split() == ["1", "no", "counterpart", "b"]


def test_shaking_leaves_nothing_without_effect():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    ports.shake(model)
    assert model[1].weight.std() > 0 and model[1].running_var.std() > 0
    assert torch.isfinite(model[0].weight).all()


def test_types_that_are_too_large_are_tried_narrow():
    narrow = json.loads((ports.RESULTS / "ports-transformers-narrow.json").read_text())["results"]
    assert ports.too_large() == sorted(narrow)


@pytest.mark.parametrize("kind", ["transformers", "transformers-narrow"])
def test_the_page_has_what_the_results_of_transformers_say(kind):
    found = json.loads((ports.RESULTS / f"ports-{kind}.json").read_text())["results"]
    kinds = Counter(each["result"] for each in found.values())
    looked = len(found) - kinds["no input"]
    large, equal = kinds["too large"], kinds["equal"]
    tried = looked - large
    share = f"{equal / tried:.0%}".replace("%", " %")
    row = (
        f"| {len(found)} | {looked} | {kinds['too large']} | {tried} | {kinds['equal']} | {share} |"
    )
    assert row in (ports.RESULTS.parents[1] / "docs" / "porting.md").read_text()
