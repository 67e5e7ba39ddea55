"""docs/networks.md runs as written, on small files, and prints what it says."""

import json
import os
import re
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers, which may look there for updates

import chex
import jax
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
        if "adapters.safetensors" in block.code:  # as training leaves them
            names["params"] = jax.tree.map(lambda leaf: leaf + 0.1, names["params"])
            names["weights"] = {n: leaf + 0.1 for n, leaf in names["weights"].items()}
            adapted = names["params"]["transformer"]["h"]["1"]["mlp"]["c_fc"]
        exec(compile(block.code, f"{PAGE.name}:{block.line}", "exec"), names)
        said += re.findall(r"^print\(.*\)  # (.*)", block.code, re.M)
    assert capsys.readouterr().out.splitlines() == said and len(said) == 8
    assert names["params"]["transformer"]["h"]["block"]["ln_1"]["weight"].shape == (2, 16)
    assert (
        fx.state_dict(names["lean"], names["params"]).keys()
        == dict(transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2").state_dict()).keys()
    )
    assert np.isfinite(names["logits"]).all()
    base = fx.models.gpt2.Conv1D(64, 16)
    merged = names["merged"]["transformer"]["h"]["1"]["mlp"]["c_fc"]
    x = jax.random.normal(jax.random.key(1), (3, 16))
    plain, _ = base.apply(merged, {}, x)
    assert abs(plain - base.apply(adapted["base"], {}, x)[0]).max() > 0.1
    chex.assert_trees_all_close(plain, names["LoRA"](base).apply(adapted, {}, x)[0], rtol=1e-5)


def test_every_network_is_on_the_page():
    text = PAGE.read_text()
    shipped = {
        name
        for name, value in vars(fx.models).items()
        if getattr(value, "__module__", "").startswith("fx.models.")
        and (name.startswith(("resnet", "vit")) or "For" in name or name in ("GPT2", "ConvNet"))
    }
    assert len(shipped) > 8 and not [name for name in shipped if f"`{name}`" not in text]
