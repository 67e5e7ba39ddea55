import re
from pathlib import Path

import numpy as np
from PIL import Image

from fx.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()


def blocks(language):
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.M | re.S)
    return [re.sub(rf"^{indent}", "", code, flags=re.M) for indent, code in found]


def test_the_page_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("python"):
        exec(code, names)
    found = names["engine"](names["images"])["probabilities"]
    np.testing.assert_allclose(names["probabilities"], found, atol=1e-6)
    assert "params.features.0.weight" in names["weights"]
    assert "state.features.1.running_mean" in names["weights"]

    for name in ("cat", "dog"):
        Image.new("RGB", (40, 30)).save(f"{name}.png")
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        assert main(line.split("#")[0].split()[1:]) == 0, line
    assert capsys.readouterr().out.startswith("cat.png: ")
