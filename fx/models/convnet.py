"""The reference network: a small VGG-like classifier for 32x32 images."""

from typing import Any

from fx import nn


class ConvNet(nn.Module):
    """Three blocks of two convolutions, a global average pool, and two linear layers.

    Args:
        num_classes: number of outputs.
        dropout_rate: of the dropout between the linear layers.

    Shapes:
        input [N, 3, H, W], H and W at least 8; output [N, num_classes], logits.

    Example:
        >>> import fx, jax
        >>> params, state = fx.models.ConvNet().init(jax.random.key(0))
        >>> sum(p.size for p in jax.tree.leaves(params))
        323498
    """

    def __init__(self, num_classes: int = 10, dropout_rate: float = 0.3):
        blocks = [layer for c_in, c in [(3, 32), (32, 64), (64, 128)] for layer in _block(c_in, c)]
        features = nn.Sequential(*blocks)
        classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 256),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            nn.Linear(256, num_classes),
        )
        he = nn.init.kaiming_normal(mode="fan_out", nonlinearity="relu")
        small = nn.init.normal(std=0.01)
        self.features = nn.init.by_type(
            features, {nn.Conv2d: {"weight": he, "bias": nn.init.zeros}}
        )
        self.classifier = nn.init.by_type(
            classifier, {nn.Linear: {"weight": small, "bias": nn.init.zeros}}
        )

    def forward(self, x: Any) -> Any:
        """Args: x: images [N, 3, H, W], normalised. Returns: logits [N, num_classes]."""
        return self.classifier(self.features(x))


def _block(c_in: int, c: int) -> list[nn.Module]:
    return [
        nn.Conv2d(c_in, c, 3, padding=1),
        nn.BatchNorm2d(c),
        nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1),
        nn.BatchNorm2d(c),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.25),
    ]
