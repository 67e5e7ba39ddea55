"""`fx port`."""

import pytest

from fx.cli import main
from fx.porting.file import example

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(3, width)

    def forward(self, x):
        return torch.special.bessel_j0(x) if x.size(0) > 9 else self.fc(x).view(-1)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net_to_port.py"
    path.write_text(MODEL)
    return str(path)


def test_the_command_writes_the_source(file, tmp_path, capsys):
    out = tmp_path / "ported.py"
    call = ["port", file, "--call", "Net(width=2)", "--input", "2,3", "--out", str(out)]
    assert main(call) == 1  # a conditional expression is ported as a whole
    assert f"obstacle: {file}:12: torch.special.bessel_j0(x): " in capsys.readouterr().out
    assert not out.exists()
    path = tmp_path / "simple.py"
    path.write_text(MODEL.replace("torch.special.bessel_j0(x) if x.size(0) > 9 else ", ""))
    assert main([call[0], str(path), *call[2:]]) == 0
    assert capsys.readouterr().out.startswith("equal: 2 calls of layers compared")
    assert "self.fc(x).reshape(-1)" in out.read_text()
    assert out.read_text().endswith("return Net(width=2)\n")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["Net(depth=2)"], "unexpected keyword argument 'depth'"),
        (["Nott()"], "Nott(): NameError: name 'Nott' is not defined"),
        (["torch.ones(3)"], "expected a torch.nn.Module or a function that makes one, got Tensor"),
        (["Net()", "--input", "2,x"], "--input: expected a shape such as 2,3,32,32 or"),
    ],
)
def test_mistakes_are_one_line(file, call, said, capsys):
    expression, *rest = call
    arguments = ["port", file, "--call", expression, *(rest or ["--input", "2,3"])]
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_a_missing_file(tmp_path, capsys):
    assert main(["port", str(tmp_path / "no.py"), "--call", "Net()", "--input", "1"]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_examples_of_inputs():
    assert example("2,3").dtype == "float32" and example("2,3").shape == (2, 3)
    whole = example("50:int64:13")
    assert whole.dtype == "int64" and whole.min() >= 0 and whole.max() < 13
