"""Layers with torch's names, as frozen descriptions.

Example:
    >>> import jax
    >>> from fx import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, dim):
    ...         self.weight = nn.Parameter((dim,), nn.init.ones)
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> params, state = Scale(3).init(jax.random.key(0))
    >>> Scale(3).apply(params, state, 2.0)[0].tolist()
    [2.0, 2.0, 2.0]
"""

from fx.nn import init as init
from fx.nn.activation import CELU as CELU
from fx.nn.activation import ELU as ELU
from fx.nn.activation import GELU as GELU
from fx.nn.activation import GLU as GLU
from fx.nn.activation import SELU as SELU
from fx.nn.activation import Hardshrink as Hardshrink
from fx.nn.activation import Hardsigmoid as Hardsigmoid
from fx.nn.activation import Hardswish as Hardswish
from fx.nn.activation import Hardtanh as Hardtanh
from fx.nn.activation import LeakyReLU as LeakyReLU
from fx.nn.activation import LogSigmoid as LogSigmoid
from fx.nn.activation import LogSoftmax as LogSoftmax
from fx.nn.activation import Mish as Mish
from fx.nn.activation import PReLU as PReLU
from fx.nn.activation import ReLU as ReLU
from fx.nn.activation import ReLU6 as ReLU6
from fx.nn.activation import Sigmoid as Sigmoid
from fx.nn.activation import SiLU as SiLU
from fx.nn.activation import Softmax as Softmax
from fx.nn.activation import Softmax2d as Softmax2d
from fx.nn.activation import Softmin as Softmin
from fx.nn.activation import Softplus as Softplus
from fx.nn.activation import Softshrink as Softshrink
from fx.nn.activation import Softsign as Softsign
from fx.nn.activation import Tanh as Tanh
from fx.nn.activation import Tanhshrink as Tanhshrink
from fx.nn.activation import Threshold as Threshold
from fx.nn.batchnorm import BatchNorm1d as BatchNorm1d
from fx.nn.batchnorm import BatchNorm2d as BatchNorm2d
from fx.nn.batchnorm import BatchNorm3d as BatchNorm3d
from fx.nn.batchnorm import InstanceNorm1d as InstanceNorm1d
from fx.nn.batchnorm import InstanceNorm2d as InstanceNorm2d
from fx.nn.batchnorm import InstanceNorm3d as InstanceNorm3d
from fx.nn.container import ModuleDict as ModuleDict
from fx.nn.container import ModuleList as ModuleList
from fx.nn.container import Sequential as Sequential
from fx.nn.conv import Conv1d as Conv1d
from fx.nn.conv import Conv2d as Conv2d
from fx.nn.conv import Conv3d as Conv3d
from fx.nn.dropout import AlphaDropout as AlphaDropout
from fx.nn.dropout import Dropout as Dropout
from fx.nn.dropout import Dropout1d as Dropout1d
from fx.nn.dropout import Dropout2d as Dropout2d
from fx.nn.dropout import Dropout3d as Dropout3d
from fx.nn.flatten import Flatten as Flatten
from fx.nn.flatten import Unflatten as Unflatten
from fx.nn.lift import record_state as record_state
from fx.nn.linear import Bilinear as Bilinear
from fx.nn.linear import Identity as Identity
from fx.nn.linear import Linear as Linear
from fx.nn.loss import BCELoss as BCELoss
from fx.nn.loss import BCEWithLogitsLoss as BCEWithLogitsLoss
from fx.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from fx.nn.loss import HuberLoss as HuberLoss
from fx.nn.loss import KLDivLoss as KLDivLoss
from fx.nn.loss import L1Loss as L1Loss
from fx.nn.loss import MSELoss as MSELoss
from fx.nn.loss import NLLLoss as NLLLoss
from fx.nn.loss import SmoothL1Loss as SmoothL1Loss
from fx.nn.module import Module as Module
from fx.nn.normalization import GroupNorm as GroupNorm
from fx.nn.normalization import LayerNorm as LayerNorm
from fx.nn.normalization import RMSNorm as RMSNorm
from fx.nn.parameter import Buffer as Buffer
from fx.nn.parameter import Parameter as Parameter
from fx.nn.pooling import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from fx.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from fx.nn.pooling import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from fx.nn.pooling import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from fx.nn.pooling import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from fx.nn.pooling import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from fx.nn.pooling import AvgPool1d as AvgPool1d
from fx.nn.pooling import AvgPool2d as AvgPool2d
from fx.nn.pooling import AvgPool3d as AvgPool3d
from fx.nn.pooling import MaxPool1d as MaxPool1d
from fx.nn.pooling import MaxPool2d as MaxPool2d
from fx.nn.pooling import MaxPool3d as MaxPool3d
from fx.nn.rewrite import replace as replace
from fx.nn.rewrite import tie as tie
from fx.nn.rewrite import transform as transform
from fx.nn.sparse import Embedding as Embedding
