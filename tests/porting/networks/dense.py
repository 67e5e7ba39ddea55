"""Every layer sees all before it; checkpoints, and parts by name."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
import torch.utils.checkpoint as cp
from torch import nn


class _DenseLayer(nn.Module):
    def __init__(self, num_input_features, growth_rate, drop_rate, memory_efficient=True):
        super(_DenseLayer, self).__init__()
        (self.add_module("norm", nn.BatchNorm2d(num_input_features)),)
        self.add_module(
            "conv", nn.Conv2d(num_input_features, growth_rate, 3, padding=1, bias=False)
        )
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def bn_function(self, inputs):
        return self.norm(torch.cat(inputs, 1))

    @torch.jit.unused
    def call_checkpoint_bottleneck(self, input):
        def closure(*inputs):
            return self.bn_function(inputs)

        return cp.checkpoint(closure, *input, use_reentrant=False)

    def forward(self, input):
        if self.memory_efficient and not torch.jit.is_scripting():
            x = self.call_checkpoint_bottleneck(input)
        else:
            x = self.bn_function(input)
        new_features = self.conv(F.relu(x))
        if self.drop_rate > 0:
            new_features = F.dropout(new_features, p=self.drop_rate, training=self.training)
        return new_features


class _DenseBlock(nn.ModuleDict):
    def __init__(self, num_layers, num_input_features, growth_rate, drop_rate):
        super().__init__()
        for i in range(num_layers):
            layer = _DenseLayer(num_input_features + i * growth_rate, growth_rate, drop_rate)
            self.add_module("denselayer%d" % (i + 1), layer)

    def forward(self, init_features):
        features = [init_features]
        for name, layer in self.items():
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    def __init__(self, growth_rate=4, num_layers=3, drop_rate=0.2):
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                [
                    ("conv0", nn.Conv2d(3, 8, 3, padding=1, bias=False)),
                    ("norm0", nn.BatchNorm2d(8)),
                ]
            )
        )
        self.features.add_module("block", _DenseBlock(num_layers, 8, growth_rate, drop_rate))
        self.classifier = nn.Linear(8 + num_layers * growth_rate, 5)

    def forward(self, x):
        out = F.relu(self.features(x), inplace=True)
        out = F.adaptive_avg_pool2d(out, (1, 1))
        out = torch.flatten(out, 1)
        return self.classifier(out)


def make():
    return DenseNet()


INPUT = ((2, 3, 8, 8),)
