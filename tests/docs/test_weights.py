"""docs/weights.md runs as written, from top to bottom."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.docs.snippets import blocks

PAGE = Path(__file__).parent.parent.parent / "docs/weights.md"


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    found: dict = {}
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        patch.chdir(tmp_path_factory.mktemp("weights"))
        Path("sharded").mkdir()
        for block in blocks(PAGE):
            exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), found)
        found["files"] = sorted(path.name for path in Path("sharded").iterdir())
    return found


def test_the_snippets_run_in_order(namespace):
    assert namespace["everything"]["epoch"] == 3
    assert namespace["files"][-1] == "model.safetensors.index.json"
    twin, params = namespace["twin"], namespace["params"]
    np.testing.assert_array_equal(params["5"]["bias"], twin[5].bias.detach().numpy())
    assert namespace["logits"].shape == (4, 10)
    assert set(namespace["dense"].init(jax.random.key(0))[0]) == {"kernel", "bias"}


def test_the_report_is_the_one_that_is_shown(namespace):
    """Errors depend on random weights; the words do not."""
    (shown,) = blocks(PAGE, ("text",))
    printed = str(namespace["found"]).splitlines()
    for line, said in zip(shown.code.splitlines()[:4], printed):
        assert line.partition("error")[0] == said.partition("error")[0]
