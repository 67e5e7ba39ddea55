"""Hugging Face's model types with two layers and random weights, and inputs that they take."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

_DEPTHS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers",
    "num_encoder_layers", "num_decoder_layers",
)  # fmt: skip
_WORDS = 1000  # of the vocabulary, where no special one is beyond it
# What `narrow` sets, wherever a configuration has a greater number.
_NARROW = {
    64: (
        "hidden_size", "d_model", "n_embd", "embed_dim", "dim", "hidden_dim", "out_hidden_size",
        "embedding_dim", "projection_dim", "word_embed_proj_dim", "decoder_hidden_size",
        "attention_hidden_size", "output_dim", "text_hidden_size", "vision_hidden_size",
        "lru_width", "q_lora_rank", "kv_lora_rank", "index_n_heads",
    ),
    128: (
        "intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size", "mlp_dim",
        "encoder_ffn_dim", "decoder_ffn_dim", "moe_intermediate_size", "expert_dim",
        "shared_expert_intermediate_size", "mamba_d_ssm", "dense_intermediate_size",
    ),
    32: ("qk_head_dim", "mamba_d_head", "mamba_headdim"),
    16: (
        "head_dim", "attention_head_dim", "d_kv", "v_head_dim", "qk_nope_head_dim",
        "qk_rope_head_dim", "rotary_dim",
    ),
    4: (
        "num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
        "decoder_attention_heads", "num_local_experts", "n_routed_experts", "num_experts",
        "moe_num_experts", "num_key_value_heads", "num_kv_heads", "mamba_n_heads",
        "n_mamba_heads",
    ),
    2: ("num_experts_per_tok", "top_k", "moe_topk", "moe_k", "attn_layer_period"),
    1: ("n_group", "n_groups", "topk_group", "attn_layer_offset"),
}  # fmt: skip


def names() -> list[str]:
    """The model types that `AutoModel` knows."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    return sorted(auto.MODEL_MAPPING_NAMES)


def maker(name: str, narrow: bool = False) -> Callable[[], Any]:
    """A function that makes the base model of a type, its depth two.

    Its widths are as they are, or with `narrow` 64 with four heads; heads that share keys and
    values go on doing so, and two layers are of different kinds where there are such.
    """
    transformers = importlib.import_module("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    kind = auto.MODEL_MAPPING_NAMES[name]

    def make() -> Any:
        config = transformers.AutoConfig.for_model(name)
        inner = [value for value in vars(config).values() if hasattr(value, "to_dict")]
        for each in (config, *inner):
            if narrow:
                _narrow(each)
            for depth in () if hasattr(each, "depths") else _DEPTHS:  # of stages, as they are
                if isinstance(getattr(each, depth, None), int):
                    setattr(each, depth, min(2, getattr(each, depth)))
            tokens = [v for n, v in vars(each).items() if n.endswith("_id") and isinstance(v, int)]
            if isinstance(getattr(each, "vocab_size", None), int):
                each.vocab_size = min(each.vocab_size, max([_WORDS - 1, *tokens]) + 1)
        config._attn_implementation = "eager"
        return getattr(transformers, kind if isinstance(kind, str) else kind[0])(config)

    return make


def _narrow(config: Any) -> None:
    """Make a configuration's widths small, before its depth is."""
    heads = getattr(config, "num_attention_heads", None)
    shared = getattr(config, "num_key_value_heads", None)
    depth = getattr(config, "num_hidden_layers", None)
    for limit, names in _NARROW.items():
        for name in names:
            value = getattr(config, name, None)
            if type(value) is int and value > limit:
                setattr(config, name, limit)
    if type(shared) is int and type(heads) is int and shared < heads:
        config.num_key_value_heads = min(shared, 2)
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == depth and isinstance(value[0], str):
            kinds = list(dict.fromkeys(value))
            setattr(config, name, (kinds + [kinds[-1]])[:2])
        elif isinstance(value, dict) and name == "rope_parameters":  # halves of a head, by axis
            share = value.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1))
            rotated = round(16 * (share or 1)) // 2
            third = rotated // 3
            value["mrope_section"] = [rotated - 2 * third, third, third]
    if hasattr(config, "attn_layer_indices"):
        config.attn_layer_indices = [1]
    if hasattr(config, "expand") and heads is None and hasattr(config, "head_dim"):
        config.head_dim = 32  # of Mamba's heads, which share twice the width
    if getattr(config, "num_experts_per_tok", 0) is None:
        config.num_experts_per_tok = 2


def inputs(model: Any) -> dict[str, Any] | None:
    """Named inputs that a model runs on, small ones first; None where none of those tried do."""
    import torch

    for given in _tries(model.main_input_name, model.config):
        try:
            with torch.no_grad():
                model(**given)
            return given
        except Exception:  # whatever it says to an input that is not for it
            continue
    return None


def _tries(word: str, config: Any) -> Iterator[dict[str, Any]]:
    import torch

    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, generator=generator)

    if word == "input_ids":
        words = min(getattr(config.get_text_config(), "vocab_size", None) or _WORDS, _WORDS)
        ids = torch.randint(3, max(words - 1, 5), (2, 12), generator=generator)
        yield {"input_ids": ids}
        yield {"input_ids": ids, "decoder_input_ids": ids[:, :6]}
        image = getattr(getattr(config, "vision_config", None) or config, "image_size", None)
        side = image if isinstance(image, int) else 224
        yield {"input_ids": ids, "pixel_values": normal(2, 3, side, side)}
        yield {"input_ids": ids, "bbox": torch.tensor([10, 20, 300, 400]).expand(2, 12, 4)}
    elif word == "pixel_values":
        size = getattr(config, "image_size", None)
        sizes = size if isinstance(size, int) else 224
        # Windows that a first image is smaller than stay small for the next one.
        sides = (sizes,) if hasattr(config, "window_size") else (32, 64, sizes, 224)
        for side in dict.fromkeys(sides):
            yield {word: normal(1, getattr(config, "num_channels", 3) or 3, side, side)}
        frames = getattr(config, "num_frames", None) or 8
        yield {word: normal(1, frames, 3, sizes, sizes)}
        words = torch.randint(3, _WORDS - 1, (1, 12), generator=generator)
        yield {word: normal(1, 3, sizes, sizes), "input_ids": words}
    elif word == "past_values":
        channels = getattr(config, "num_input_channels", None) or 1
        yield {word: normal(1, getattr(config, "context_length", None) or 64, channels)}
    elif word in ("input_values", "audio_mel"):
        yield {word: normal(1, 4000)}
        yield {word: normal(1, 1, 4000)}
        yield {word: normal(1, getattr(config, "max_length", 128), 128)}
    elif word == "input_features":
        bands = getattr(config, "num_mel_bins", None) or getattr(config, "feature_size", None) or 80
        yield {word: normal(1, 60, bands)}
        long = 2 * (getattr(config, "max_source_positions", None) or 1500)
        features = normal(1, bands, long)
        yield {word: features}
        yield {word: features, "decoder_input_ids": torch.tensor([[3, 4, 5]])}
