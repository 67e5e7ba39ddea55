"""Hugging Face's model types with two layers and random weights, and inputs that they take."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

_DEPTHS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers",
    "num_encoder_layers", "num_decoder_layers",
)  # fmt: skip
_WORDS = 1000  # of the vocabulary, where no special one is beyond it


def names() -> list[str]:
    """The model types that `AutoModel` knows."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    return sorted(auto.MODEL_MAPPING_NAMES)


def maker(name: str) -> Callable[[], Any]:
    """A function that makes the base model of a type, its widths as they are, its depth two."""
    transformers = importlib.import_module("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    kind = auto.MODEL_MAPPING_NAMES[name]

    def make() -> Any:
        config = transformers.AutoConfig.for_model(name)
        inner = [value for value in vars(config).values() if hasattr(value, "to_dict")]
        for each in (config, *inner):
            for depth in _DEPTHS:
                if isinstance(getattr(each, depth, None), int):
                    setattr(each, depth, min(2, getattr(each, depth)))
            tokens = [v for n, v in vars(each).items() if n.endswith("_id") and isinstance(v, int)]
            if isinstance(getattr(each, "vocab_size", None), int):
                each.vocab_size = min(each.vocab_size, max([_WORDS - 1, *tokens]) + 1)
        config._attn_implementation = "eager"
        return getattr(transformers, kind if isinstance(kind, str) else kind[0])(config)

    return make


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
    elif word == "pixel_values":
        size = getattr(config, "image_size", None)
        sizes = size if isinstance(size, int) else 224
        for side in dict.fromkeys((32, 64, sizes, 224)):
            yield {word: normal(1, getattr(config, "num_channels", 3) or 3, side, side)}
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
