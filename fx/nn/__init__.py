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

from fx.functional.linear_cross_entropy import (
    LinearCrossEntropyOptions as LinearCrossEntropyOptions,
)
from fx.nn import init as init
from fx.nn import utils as utils
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
from fx.nn.adaptive import AdaptiveLogSoftmaxWithLoss as AdaptiveLogSoftmaxWithLoss
from fx.nn.attention import MultiheadAttention as MultiheadAttention
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
from fx.nn.conv_transpose import ConvTranspose1d as ConvTranspose1d
from fx.nn.conv_transpose import ConvTranspose2d as ConvTranspose2d
from fx.nn.conv_transpose import ConvTranspose3d as ConvTranspose3d
from fx.nn.describe import always_evaluates as always_evaluates
from fx.nn.distance import CosineSimilarity as CosineSimilarity
from fx.nn.distance import PairwiseDistance as PairwiseDistance
from fx.nn.dropout import AlphaDropout as AlphaDropout
from fx.nn.dropout import Dropout as Dropout
from fx.nn.dropout import Dropout1d as Dropout1d
from fx.nn.dropout import Dropout2d as Dropout2d
from fx.nn.dropout import Dropout3d as Dropout3d
from fx.nn.dropout import FeatureAlphaDropout as FeatureAlphaDropout
from fx.nn.embedding_bag import EmbeddingBag as EmbeddingBag
from fx.nn.flatten import Flatten as Flatten
from fx.nn.flatten import Unflatten as Unflatten
from fx.nn.fold import Fold as Fold
from fx.nn.fold import Unfold as Unfold
from fx.nn.fractional_pooling import FractionalMaxPool2d as FractionalMaxPool2d
from fx.nn.fractional_pooling import FractionalMaxPool3d as FractionalMaxPool3d
from fx.nn.lift import record_state as record_state
from fx.nn.likelihood_loss import CTCLoss as CTCLoss
from fx.nn.likelihood_loss import GaussianNLLLoss as GaussianNLLLoss
from fx.nn.likelihood_loss import PoissonNLLLoss as PoissonNLLLoss
from fx.nn.linear import Bilinear as Bilinear
from fx.nn.linear import Identity as Identity
from fx.nn.linear import Linear as Linear
from fx.nn.linear_cross_entropy import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from fx.nn.loss import BCELoss as BCELoss
from fx.nn.loss import BCEWithLogitsLoss as BCEWithLogitsLoss
from fx.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from fx.nn.loss import HuberLoss as HuberLoss
from fx.nn.loss import KLDivLoss as KLDivLoss
from fx.nn.loss import L1Loss as L1Loss
from fx.nn.loss import MSELoss as MSELoss
from fx.nn.loss import NLLLoss as NLLLoss
from fx.nn.loss import SmoothL1Loss as SmoothL1Loss
from fx.nn.mapped import Vmap as Vmap
from fx.nn.mapped import vmap as vmap
from fx.nn.margin_loss import CosineEmbeddingLoss as CosineEmbeddingLoss
from fx.nn.margin_loss import HingeEmbeddingLoss as HingeEmbeddingLoss
from fx.nn.margin_loss import MarginRankingLoss as MarginRankingLoss
from fx.nn.margin_loss import MultiLabelMarginLoss as MultiLabelMarginLoss
from fx.nn.margin_loss import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from fx.nn.margin_loss import MultiMarginLoss as MultiMarginLoss
from fx.nn.margin_loss import SoftMarginLoss as SoftMarginLoss
from fx.nn.margin_loss import TripletMarginLoss as TripletMarginLoss
from fx.nn.margin_loss import TripletMarginWithDistanceLoss as TripletMarginWithDistanceLoss
from fx.nn.module import Module as Module
from fx.nn.normalization import GroupNorm as GroupNorm
from fx.nn.normalization import LayerNorm as LayerNorm
from fx.nn.normalization import RMSNorm as RMSNorm
from fx.nn.padding import CircularPad1d as CircularPad1d
from fx.nn.padding import CircularPad2d as CircularPad2d
from fx.nn.padding import CircularPad3d as CircularPad3d
from fx.nn.padding import ConstantPad1d as ConstantPad1d
from fx.nn.padding import ConstantPad2d as ConstantPad2d
from fx.nn.padding import ConstantPad3d as ConstantPad3d
from fx.nn.padding import ReflectionPad1d as ReflectionPad1d
from fx.nn.padding import ReflectionPad2d as ReflectionPad2d
from fx.nn.padding import ReflectionPad3d as ReflectionPad3d
from fx.nn.padding import ReplicationPad1d as ReplicationPad1d
from fx.nn.padding import ReplicationPad2d as ReplicationPad2d
from fx.nn.padding import ReplicationPad3d as ReplicationPad3d
from fx.nn.padding import ZeroPad1d as ZeroPad1d
from fx.nn.padding import ZeroPad2d as ZeroPad2d
from fx.nn.padding import ZeroPad3d as ZeroPad3d
from fx.nn.parameter import Buffer as Buffer
from fx.nn.parameter import Parameter as Parameter
from fx.nn.parameter_container import ParameterDict as ParameterDict
from fx.nn.parameter_container import ParameterList as ParameterList
from fx.nn.pooling import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from fx.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from fx.nn.pooling import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from fx.nn.pooling import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from fx.nn.pooling import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from fx.nn.pooling import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from fx.nn.pooling import AvgPool1d as AvgPool1d
from fx.nn.pooling import AvgPool2d as AvgPool2d
from fx.nn.pooling import AvgPool3d as AvgPool3d
from fx.nn.pooling import LPPool1d as LPPool1d
from fx.nn.pooling import LPPool2d as LPPool2d
from fx.nn.pooling import LPPool3d as LPPool3d
from fx.nn.pooling import MaxPool1d as MaxPool1d
from fx.nn.pooling import MaxPool2d as MaxPool2d
from fx.nn.pooling import MaxPool3d as MaxPool3d
from fx.nn.random_activation import RReLU as RReLU
from fx.nn.recurrent import GRU as GRU
from fx.nn.recurrent import LSTM as LSTM
from fx.nn.recurrent import RNN as RNN
from fx.nn.recurrent_cell import GRUCell as GRUCell
from fx.nn.recurrent_cell import LSTMCell as LSTMCell
from fx.nn.recurrent_cell import RNNCell as RNNCell
from fx.nn.response_norm import CrossMapLRN2d as CrossMapLRN2d
from fx.nn.response_norm import LocalResponseNorm as LocalResponseNorm
from fx.nn.rewrite import mark as mark
from fx.nn.rewrite import replace as replace
from fx.nn.rewrite import tie as tie
from fx.nn.rewrite import transform as transform
from fx.nn.scratch import Scratch as Scratch
from fx.nn.select import at as at
from fx.nn.select import merge as merge
from fx.nn.select import partition as partition
from fx.nn.shuffle import ChannelShuffle as ChannelShuffle
from fx.nn.shuffle import PixelShuffle as PixelShuffle
from fx.nn.shuffle import PixelUnshuffle as PixelUnshuffle
from fx.nn.sparse import Embedding as Embedding
from fx.nn.stack import Stack as Stack
from fx.nn.sync_batchnorm import SyncBatchNorm as SyncBatchNorm
from fx.nn.transformer import Transformer as Transformer
from fx.nn.transformer import TransformerDecoder as TransformerDecoder
from fx.nn.transformer import TransformerEncoder as TransformerEncoder
from fx.nn.transformer_layer import TransformerDecoderLayer as TransformerDecoderLayer
from fx.nn.transformer_layer import TransformerEncoderLayer as TransformerEncoderLayer
from fx.nn.unpooling import MaxUnpool1d as MaxUnpool1d
from fx.nn.unpooling import MaxUnpool2d as MaxUnpool2d
from fx.nn.unpooling import MaxUnpool3d as MaxUnpool3d
from fx.nn.upsampling import Upsample as Upsample
from fx.nn.upsampling import UpsamplingBilinear2d as UpsamplingBilinear2d
from fx.nn.upsampling import UpsamplingNearest2d as UpsamplingNearest2d
from fx.nn.wrap import eval_mode as eval_mode
from fx.nn.wrap import method as method
from fx.nn.wrap import remat as remat
