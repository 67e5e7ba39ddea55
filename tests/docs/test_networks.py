"""docs/networks.md runs as written, on small files, and prints what it says."""

import json
import os
import re
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers, which may look there for updates

import numpy as np
import torch
import transformers

import fx
from tests.docs.snippets import blocks
from tests.models import torch_twins

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/networks.md"


def make_files(folder):
    """Files of the names on the page, the last two as Hugging Face's program writes them."""
    names = json.loads((ROOT / "tests/models/torchvision_names.json").read_text())["resnet18"]
    resnet = {name: torch.zeros(shape) for name, shape in names.items() if "tracked" not in name}
    torch.save(resnet, folder / "resnet18.pth")
    vit = torch_twins.VisionTransformer(32, 16, 2, 2, 16, 32, 1000)
    torch.save(vit.state_dict(), folder / "vit.pth")
    gpt2 = transformers.GPT2Config(
        vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(folder / "gpt2")
    bert = transformers.BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForPreTraining(bert).save_pretrained(folder / "bert-base-uncased")


@pytest.mark.slow
def test_the_snippets_run_in_order_as_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    make_files(tmp_path)
    capsys.readouterr()
    names: dict = {}
    said = []
    for block in blocks(PAGE):
        exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), names)
        said += re.findall(r"^print\(.*\)  # (.*)", block.code, re.M)
    assert capsys.readouterr().out.splitlines() == said and len(said) == 6
    assert names["params"]["transformer"]["h"]["block"]["ln_1"]["weight"].shape == (2, 16)
    assert (
        fx.state_dict(names["lean"], names["params"]).keys()
        == dict(transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2").state_dict()).keys()
    )
    assert np.isfinite(names["logits"]).all()


def test_every_network_is_on_the_page():
    text = PAGE.read_text()
    shipped = {
        name
        for name, value in vars(fx.models).items()
        if getattr(value, "__module__", "").startswith("fx.models.")
        and (name.startswith(("resnet", "vit")) or "For" in name or name in ("GPT2", "ConvNet"))
    }
    assert len(shipped) > 8 and not [name for name in shipped if f"`{name}`" not in text]
