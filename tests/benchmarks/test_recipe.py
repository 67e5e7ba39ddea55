"""The reference's program is changed so that it runs on a CPU, or the change is refused."""

import pytest

from benchmarks import recipe
from benchmarks.page import sections

PROGRAM = """import torch

@torch.compile
def zeropower(G):
    return G.half()

def main(run, model):
    batch_size = 2000
    data = torch.load("x", map_location=torch.device("cuda"))
    total_train_steps = ceil(8 * len(data))
    optimizer = torch.optim.SGD([], fused=True)
    starter = torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    return CifarNet().cuda()

if __name__ == "__main__":
    model.compile(mode="max-autotune")
    main(200)
"""


def options(*given):
    return recipe.arguments(["--reference", "checkout", *given])


def test_a_program_for_a_gpu_becomes_one_for_a_cpu():
    text = recipe.for_cpu(PROGRAM, options("--epochs", "3", "--batch", "50", "--seed", "7"))
    compile(text, "reference.py", "exec")
    assert "cuda" not in text and "compile" not in text and "half" not in text
    assert text.startswith("BATCH, EPOCHS = 50, 3\n")
    assert "batch_size = BATCH" in text and "ceil(EPOCHS * len(data))" in text
    assert "for run in range(7, 7 + 3):" in text and "main(200)" not in text


def test_another_program_is_refused():
    with pytest.raises(ValueError, match="recipe: expected .*fused=True.* in airbench94_muon.py"):
        recipe.for_cpu(PROGRAM.replace("fused=True", ""), options())


def test_the_page_has_both():
    entry = {
        "command": "python -m benchmarks.recipe", "versions": {}, "machine": {},
        "settings": {"target": 94, "epochs": 2, "images": 10000, "batch": 500,
                     "test_images": 2000},
        "contenders": {"fx": recipe.summary([0.6, 0.62]), "reference": recipe.summary([0.61])},
    }  # fmt: skip
    entry["versions"] = dict.fromkeys(("jax", "flax", "torch", "onnxruntime"), "1")
    entry["machine"] = {"cpu": "a CPU", "cores": 2, "load_at_start": 0.1, "load_at_end": 0.1}
    text = "\n".join(sections.records({"recipe-cpu-94": entry}, "cpu"))
    assert "| fx | 61.00% (" in text and "n = 2" in text
    assert "| reference | 61.00% (n = 1) |" in text
    assert "after 2 epochs of 10,000 images in batches of 500, tested on 2,000" in text
