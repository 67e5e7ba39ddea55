"""The networks of fx.models, and the twins' weights under the names that these have there."""

import re
from typing import Any

import numpy as np

import fx
from benchmarks.networks.tasks import Task
from fx import nn

# Of the twins in torch the layers are "blocks.<number>.<part>".
PARTS = {
    "gpt2": {
        "norm1": "ln_1", "norm2": "ln_2", "attn.qkv": "attn.c_attn", "attn.proj": "attn.c_proj",
        "fc1": "mlp.c_fc", "fc2": "mlp.c_proj",
    },
    "vit": {
        "norm1": "ln_1", "norm2": "ln_2", "attn.qkv": "self_attention.in_proj",
        "attn.proj": "self_attention.out_proj", "fc1": "mlp.0", "fc2": "mlp.3",
    },
}  # fmt: skip
OTHERS = {
    "gpt2": {"wte": "transformer.wte", "wpe": "transformer.wpe", "norm": "transformer.ln_f"},
    "vit": {
        "patch": "conv_proj", "token": "class_token", "places": "encoder.pos_embedding",
        "norm": "encoder.ln", "head": "heads.head",
    },
}  # fmt: skip
LAYERS = {"gpt2": "transformer.h.{}", "vit": "encoder.layers.encoder_layer_{}"}


def network(name: str, task: Task, dropout: bool = True, attention: str | None = None) -> Any:
    """The network, as its twin is: transformers and ResNet have no dropout.

    Args:
        name: a name of `benchmarks.networks.tasks`.
        task: with the options of the twin.
        dropout: whether the ConvNet drops.
        attention: the transformers' implementation of attention.
    """
    makers = {"convnet": _convnet, "resnet18": _resnet18, "gpt2": _gpt2, "vit": _vit}
    return makers[name](dict(task.options), dropout=dropout, attention=attention)


def _convnet(options: dict[str, Any], dropout: bool, **_: Any) -> Any:
    if dropout:
        return fx.models.ConvNet()
    model = fx.models.ConvNet(dropout_rate=0.0)
    for place, layer in enumerate(model.features):
        if isinstance(layer, nn.Dropout2d):
            model = nn.replace(model, f"features.{place}", nn.Dropout2d(0.0))
    return model


def _resnet18(options: dict[str, Any], **_: Any) -> Any:
    return fx.models.resnet18(num_classes=10, small_images=True)


def _gpt2(options: dict[str, Any], attention: str | None, **_: Any) -> Any:
    names = {"vocabulary": "vocab_size", "length": "n_positions", "dim": "n_embd"}
    names |= {"depth": "n_layer", "heads": "n_head"}
    given = {names[name]: value for name, value in options.items()}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return fx.models.GPT2(**given, **off, attn_implementation=attention)


def _vit(options: dict[str, Any], attention: str | None, **_: Any) -> Any:
    if not options:
        return fx.models.vit_s_16(attn_implementation=attention)
    dim = options["dim"]
    return fx.models.VisionTransformer(
        options["side"], 16, options["depth"], options["heads"], dim, 4 * dim,
        num_classes=options["num_classes"], attn_implementation=attention,
    )  # fmt: skip


def renamed(name: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The twin's weights under the names of fx.models; GPT-2's layers have theirs [in, out]."""
    if name not in PARTS:
        return weights
    found = {}
    for key, value in weights.items():
        inside = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key)
        if inside:
            layer, part, kind = inside.groups()
            end = f"_{kind}" if PARTS[name][part].endswith("in_proj") else f".{kind}"
            key = f"{LAYERS[name].format(layer)}.{PARTS[name][part]}{end}"
            found[key] = value.T if name == "gpt2" and value.ndim == 2 else value
        else:
            part, dot, kind = key.partition(".")
            found[f"{OTHERS[name][part]}{dot}{kind}"] = value
    return found | ({"lm_head.weight": weights["wte.weight"]} if name == "gpt2" else {})
