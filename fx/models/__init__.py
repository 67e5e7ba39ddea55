"""Networks that ship."""

from fx.models.convnet import ConvNet as ConvNet
