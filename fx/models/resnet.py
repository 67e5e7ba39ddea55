"""ResNet-18, 34 and 50, with torchvision's names, and a stem for small images."""

from collections.abc import Callable, Sequence
from typing import Any

from fx import nn

Norm = Callable[[int], nn.Module]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them: the block of ResNet-18 and 34.

    Args:
        inplanes: channels in.
        planes: channels out.
        stride: of the first convolution.
        downsample: what the way around does where sizes differ; None passes on.
        groups: must be 1.
        base_width: must be 64.
        dilation: must be 1.
        norm_layer: makes a normalisation from a number of channels.
        zero_init: whether the last normalisation's weight begins at 0.

    Raises:
        ValueError: groups, base_width or dilation is another: those are for `Bottleneck`.

    Source: torchvision.models.resnet.BasicBlock; He et al. 2015, figure 2.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
        zero_init: bool = False,
    ):
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(
                "BasicBlock: expected groups=1, base_width=64 and dilation=1, got "
                f"{groups}, {base_width} and {dilation}; use Bottleneck, ResNet-50's block"
            )
        self.conv1, self.bn1 = _conv(inplanes, planes, 3, stride), norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = _conv(planes, planes, 3), _last(norm_layer(planes), zero_init)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        """[N, inplanes, H, W] in; [N, planes, H / stride, W / stride] out."""
        around = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + around)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a way around them: the block of ResNet-50 and deeper.

    Args:
        inplanes: channels in.
        planes: a quarter of the channels out.
        stride: of the 3x3 convolution.
        downsample: what the way around does where sizes differ; None passes on.
        groups: of the 3x3 convolution.
        base_width: channels between, for each group and 64 planes.
        dilation: of the 3x3 convolution.
        norm_layer: makes a normalisation from a number of channels.
        zero_init: whether the last normalisation's weight begins at 0.

    Source: torchvision.models.resnet.Bottleneck, which has the stride in the 3x3 convolution where
    He et al. 2015 have it in the first.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
        zero_init: bool = False,
    ):
        width, out = int(planes * base_width / 64) * groups, planes * self.expansion
        self.conv1, self.bn1 = _conv(inplanes, width, 1), norm_layer(width)
        self.conv2 = _conv(width, width, 3, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3, self.bn3 = _conv(width, out, 1), _last(norm_layer(out), zero_init)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        """[N, inplanes, H, W] in; [N, 4 * planes, H / stride, W / stride] out."""
        around = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + around)


class ResNet(nn.Module):
    """A residual network for images.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: how many blocks each of the four stages has.
        num_classes: number of outputs.
        zero_init_residual: whether each block begins as its way around.
        groups: of `Bottleneck`'s 3x3 convolutions.
        width_per_group: of `Bottleneck`, 64 being the usual width.
        replace_stride_with_dilation: for stages 2, 3 and 4, whether the image stays as large and
            the convolutions are dilated instead.
        norm_layer: makes a normalisation from a number of channels.
        small_images: a stem for images of 32x32, say: one 3x3 convolution with stride 1 and no
            pooling, where the usual one makes the image four times smaller in each direction.

    Parameters: convolutions He-normal by fan_out; the last layer as `nn.Linear`'s.

    Raises:
        ValueError: replace_stride_with_dilation does not have three values; a `BasicBlock` with
            groups, another width or dilation.

    Example:
        >>> import fx, jax, jax.numpy as jnp
        >>> model = fx.models.resnet18(num_classes=10, small_images=True)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0))  # shapes alone, for speed
        >>> jax.eval_shape(model.apply, params, state, jnp.ones((2, 3, 32, 32)))[0].shape
        (2, 10)

    Source: torchvision.models.ResNet; the small stem is that of He et al. 2015, section 4.2, with
    ImageNet's widths, as is usual on CIFAR.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
        *,
        small_images: bool = False,
    ):
        dilate = tuple(replace_stride_with_dilation or (False, False, False))
        if len(dilate) != 3:
            raise ValueError(
                "ResNet: expected replace_stride_with_dilation to have three values, for stages "
                f"2, 3 and 4, got {replace_stride_with_dilation}"
            )
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = _conv(3, 64, 3) if small_images else _conv(3, 64, 7, 2)
        self.bn1 = norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        inplanes, dilation = 64, 1
        shared = {"groups": groups, "base_width": width_per_group, "norm_layer": norm}
        shared["zero_init"] = zero_init_residual
        for stage, (n, dilated) in enumerate(zip(layers, (False, *dilate), strict=True)):
            planes, stride, before = 64 * 2**stage, 1 if stage == 0 else 2, dilation
            if dilated:
                dilation, stride = dilation * stride, 1
            blocks = _stage(block, inplanes, planes, n, stride, (before, dilation), shared)
            inplanes = planes * block.expansion
            self.add_module(f"layer{stage + 1}", blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inplanes, num_classes)

    def forward(self, x: Any) -> Any:
        """Args: x: images [N, 3, H, W], normalised. Returns: logits [N, num_classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).reshape(x.shape[0], -1))  # [N, 512 * expansion]


def resnet18(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-18; `options` are those of `ResNet`. Source: torchvision.models.resnet18."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes, **options)


def resnet34(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-34; `options` are those of `ResNet`. Source: torchvision.models.resnet34."""
    return ResNet(BasicBlock, [3, 4, 6, 3], num_classes, **options)


def resnet50(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-50; `options` are those of `ResNet`. Source: torchvision.models.resnet50."""
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes, **options)


def _stage(
    block: Any, inplanes: int, planes: int, n: int, stride: int, dilations: tuple, shared: dict
) -> nn.Sequential:
    """Blocks of one width; the first has the stride, and the dilation of the stage before."""
    out = planes * block.expansion
    around = None
    if stride != 1 or inplanes != out:
        around = nn.Sequential(_conv(inplanes, out, 1, stride), shared["norm_layer"](out))
    first = block(inplanes, planes, stride, around, dilation=dilations[0], **shared)
    rest = (block(out, planes, dilation=dilations[1], **shared) for _ in range(n - 1))
    return nn.Sequential(first, *rest)


def _conv(
    c_in: int, c: int, size: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    padding = dilation * (size // 2)
    conv = nn.Conv2d(c_in, c, size, stride, padding, dilation, groups, bias=False)
    he = nn.init.kaiming_normal(mode="fan_out", nonlinearity="relu")
    return nn.init.by_type(conv, {nn.Conv2d: he})


def _last(norm: nn.Module, zero_init: bool) -> nn.Module:
    return nn.init.by_type(norm, {type(norm): nn.init.zeros}) if zero_init else norm
