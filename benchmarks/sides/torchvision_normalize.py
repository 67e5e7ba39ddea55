"""What cifar10-airbench uses of torchvision.transforms, for where that is not installed."""

import torch


class Normalize:
    """Subtracts a mean and divides by a deviation, each by channel; images are [..., C, H, W]."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor):
        self.mean, self.std = mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Images of the same shape and dtype."""
        return (images - self.mean.to(images)) / self.std.to(images)
