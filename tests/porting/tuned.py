"""A model of one's own on `PreTrainedModel`, with a configuration of its own, in plain torch."""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class Config(PretrainedConfig):
    model_type = "tuned"

    def __init__(self, width=8, depth=2, **given):
        self.width, self.depth = width, depth
        super().__init__(**given)


class Tuned(PreTrainedModel):
    config_class = Config
    base_model_prefix = "tuned"

    def __init__(self, config):
        super().__init__(config)
        self.embedded = nn.Embedding(20, config.width)
        self.blocks = nn.ModuleList(
            [nn.Linear(config.width, config.width) for _ in range(config.depth)]
        )
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(0, 0.02)

    def forward(self, ids):
        x = self.embedded(ids) / self.config.depth
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return x
