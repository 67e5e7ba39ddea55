"""fx.models.ConvNet's twin in PyTorch: the same layers under the same names."""

import torch
from torch import nn


class ConvNet(nn.Module):
    """Three blocks of two convolutions, a global average pool, and two linear layers.

    Args:
        num_classes: number of outputs.
        dropout_rate: of the dropout between the linear layers.
        channel_dropout_rate: of the dropout of channels after each block.
    """

    def __init__(
        self,
        num_classes: int = 10,
        dropout_rate: float = 0.3,
        channel_dropout_rate: float = 0.25,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(c_in, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
            layers += [nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
            layers += [nn.MaxPool2d(2), nn.Dropout2d(channel_dropout_rate)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 256),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            nn.Linear(256, num_classes),
        )
        self.apply(_initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, num_classes] of images [N, 3, H, W]."""
        return self.classifier(self.features(x))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)
