"""What torch refuses, fx refuses: with ValueError or TypeError, before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx.functional as F
from fx import nn

CHANNELS = [
    ("Conv2d", (3, 4, 3), {}, [(1, 4, 8, 8)]),
    ("Conv2d", (3, 4, 3), {}, [(8, 8)]),
    ("Conv2d", (3, 4, 3), {}, [(1, 3, 2, 8)]),
    ("Conv2d", (3, 4, 3), {"groups": 2}, []),
    ("Conv2d", (4, 3, 3), {"groups": 2}, []),
    ("Conv2d", (4, 4, 3), {"groups": 0}, []),
    ("Conv2d", (3, 4, 3), {"padding_mode": "mirror"}, []),
    ("Conv2d", (3, 4, 3), {"padding": "full"}, []),
    ("Conv2d", (3, 4, 3), {"padding": "same", "stride": 2}, []),
    ("Conv2d", (3, 4, 3), {"padding": -1}, [(1, 3, 8, 8)]),
    ("Conv2d", (3, 4, 3), {"dilation": 0}, [(1, 3, 8, 8)]),
    ("Conv1d", (3, 4, 3), {"padding": 5, "padding_mode": "reflect"}, [(1, 3, 4)]),
    ("Conv1d", (3, 4, 3), {"padding": 5, "padding_mode": "circular"}, [(1, 3, 4)]),
    ("ConvTranspose2d", (3, 4, 3), {"output_padding": 1}, [(1, 3, 4, 4)]),
    ("ConvTranspose2d", (3, 4, 3), {"padding_mode": "reflect"}, []),
    ("ConvTranspose1d", (3, 4, 3), {"groups": 2}, []),
    ("ConvTranspose1d", (3, 4, 3), {}, [(1, 2, 4)]),
    ("BatchNorm1d", (3,), {}, [(2, 3, 4, 5)]),
    ("BatchNorm1d", (3, 0.0), {"track_running_stats": False}, [(2, 3)]),
    ("BatchNorm1d", (3, -1.0), {}, [(2, 3)]),
    ("BatchNorm2d", (3,), {}, [(2, 3, 4)]),
    ("BatchNorm2d", (3,), {}, [(2, 4, 4, 4)]),
    ("BatchNorm3d", (3,), {}, [(2, 3, 4, 4)]),
    ("InstanceNorm2d", (3,), {}, [(2, 3)]),
    ("InstanceNorm1d", (3,), {}, [(2, 3, 1)]),
    ("InstanceNorm2d", (3,), {"affine": True}, [(2, 4, 4, 4)]),
    ("LayerNorm", (4,), {}, [(2, 3)]),
    ("LayerNorm", ((3, 4),), {}, [(2, 4, 3)]),
    ("RMSNorm", (4,), {}, [(2, 3)]),
    ("GroupNorm", (2, 3), {}, []),
    ("GroupNorm", (2, 4), {}, [(2, 6, 3)]),
    ("GroupNorm", (2, 2), {}, [(1, 2, 1)]),
    ("LocalResponseNorm", (2,), {}, [(2, 3)]),
    ("PixelShuffle", (2,), {}, [(1, 3, 4, 4)]),
    ("PixelUnshuffle", (2,), {}, [(1, 3, 5, 4)]),
    ("ChannelShuffle", (2,), {}, [(1, 3, 4, 4)]),
    ("Softmax2d", (), {}, [(3, 4)]),
    ("GLU", (), {}, [(3, 5)]),
    ("GLU", (2,), {}, [(3, 4)]),
    ("CELU", (0.0,), {}, [(3,)]),
    ("PReLU", (3,), {}, [(2, 4)]),
    ("PReLU", (3,), {}, [(3,)]),
    ("GELU", ("fast",), {}, [(3,)]),
    ("Dropout", (1.5,), {}, []),
    ("Dropout2d", (-0.1,), {}, []),
    ("AlphaDropout", (2,), {}, []),
]
WINDOWS = [
    ("MaxPool2d", (3,), {"padding": 2}, [(1, 2, 8, 8)]),
    ("MaxPool2d", (3,), {}, [(1, 2, 2, 8)]),
    ("MaxPool2d", (3,), {}, [(8, 8)]),
    ("MaxPool2d", (3,), {"stride": 0}, [(1, 2, 8, 8)]),
    ("ConvTranspose1d", (1, 1, 1), {"padding": np.int64(9)}, [(1, 1, 4)]),
    ("AvgPool2d", (True,), {}, [(1, 2, 8, 8)]),
    ("MaxPool2d", ((3, 3, 3),), {}, [(1, 2, 8, 8)]),
    ("AvgPool2d", (2,), {"divisor_override": 0}, [(1, 2, 8, 8)]),
    ("AvgPool2d", (3,), {"padding": 2}, [(1, 2, 8, 8)]),
    ("AvgPool3d", (2,), {}, [(2, 8, 8)]),
    ("AdaptiveAvgPool2d", ((1, 2, 3),), {}, [(1, 2, 8, 8)]),
    ("AdaptiveAvgPool2d", (2,), {}, [(8, 8)]),
    ("AdaptiveMaxPool1d", (2,), {}, [(1, 2, 0)]),
    ("AdaptiveAvgPool1d", ((None,),), {}, [(1, 2, 4)]),
    ("AdaptiveMaxPool2d", (None,), {}, [(1, 2, 4, 4)]),
    ("AdaptiveAvgPool3d", (2,), {}, [(1, 0, 4, 4, 4)]),
    ("MaxPool2d", (2,), {}, [(1, 0, 4, 4)]),
    ("AvgPool1d", (2,), {}, [(0, 4)]),
    ("AvgPool3d", (3,), {"padding": 1}, [(1, 2, 3, 2, 3)]),
    ("FractionalMaxPool2d", (2,), {}, []),
    ("FractionalMaxPool2d", (2, 2), {}, [(2, 0, 5, 5)]),
    ("MaxUnpool2d", (2,), {}, [(2, 0, 3, 3), "int 2 0 3 3"]),
    ("CrossMapLRN2d", (0,), {}, [(2, 3, 4, 4)]),
    ("ConstantPad1d", (1, float("inf")), {}, ["int 2 3"]),
    ("AvgPool2d", (2,), {"divisor_override": 2.5}, [(1, 2, 8, 8)]),
    ("FractionalMaxPool2d", (2,), {"output_size": 3, "output_ratio": 0.5}, []),
    ("FractionalMaxPool2d", (2,), {"output_ratio": 1.5}, []),
    ("Unfold", (5,), {}, [(1, 2, 4, 4)]),
    ("Fold", ((4, 4), 2), {}, [(1, 8, 8)]),
    ("Fold", ((4, 4), 2), {}, [(1, 7, 9)]),
    ("ReflectionPad1d", (4,), {}, [(1, 2, 4)]),
    ("ReflectionPad2d", (1,), {}, [(4, 4)]),
    ("ReplicationPad2d", (1,), {}, [(4, 4)]),
    ("CircularPad1d", (5,), {}, [(1, 2, 4)]),
    ("ZeroPad1d", ((-3, -3),), {}, [(1, 2, 4)]),
    ("ConstantPad2d", ((1, 1, 1), 0.0), {}, [(1, 2, 4, 4)]),
    ("Upsample", (), {}, [(1, 2, 4)]),
    ("Upsample", (), {"size": 3, "scale_factor": 2}, [(1, 2, 4)]),
    ("Upsample", (), {"size": 3, "mode": "cubic"}, [(1, 2, 4)]),
    ("Upsample", (), {"size": 3, "mode": "bilinear"}, [(1, 2, 4)]),
    ("Upsample", (), {"size": 3, "align_corners": True}, [(1, 2, 4)]),
    ("Upsample", (), {"size": (3, 3)}, [(1, 2, 4)]),
]
MATRICES = [
    ("Linear", (-1, 2), {}, []),
    ("Linear", (3, 4), {}, [(2, 5)]),
    ("Bilinear", (3, 4, 5), {}, [(2, 3), (2, 3)]),
    ("Bilinear", (3, 4, 5), {}, [(2, 3), (3, 4)]),
    ("Unflatten", (1, (2, 4)), {}, [(2, 6)]),
    ("Flatten", (2,), {}, [(2, 3)]),
    ("Embedding", (7, 3), {"padding_idx": 7}, []),
    ("Embedding", (7, 3), {"padding_idx": -8}, []),
    ("Embedding", (7, 3), {}, [(2, 3)]),
    ("EmbeddingBag", (7, 3), {"mode": "min"}, ["int 2 3"]),
    ("EmbeddingBag", (7, 3), {}, ["int 2 3", "int 2"]),
    ("EmbeddingBag", (7, 3), {}, ["int 4"]),
    ("LSTM", (3, 4), {}, [(5, 2, 4)]),
    ("LSTM", (3, 4), {"proj_size": 4}, []),
    ("GRU", (3, 4), {"proj_size": 2}, []),
    ("GRU", (3, 4), {"dropout": 2}, []),
    ("GRU", (3, 4), {}, [(5, 2, 3), (1, 3, 4)]),
    ("GRU", (3, 4), {"num_layers": 2}, [(5, 2, 3), (1, 2, 4)]),
    ("RNN", (3, 4), {"nonlinearity": "gelu"}, []),
    ("RNN", (3, 4), {}, [(5, 2, 2, 3)]),
    ("RNNCell", (3, 4), {}, [(2, 4)]),
    ("GRUCell", (3, 4), {}, [(2, 3), (3, 4)]),
    ("MultiheadAttention", (4, 3), {}, []),
    ("MultiheadAttention", (4, 2), {}, [(3, 1, 4), (5, 1, 4), (4, 1, 4)]),
    ("MultiheadAttention", (4, 2), {}, [(3, 1, 5), (3, 1, 5), (3, 1, 5)]),
    ("TransformerEncoderLayer", (4, 3), {}, []),
    ("TransformerEncoderLayer", (4, 2), {"activation": "elu"}, []),
    ("Transformer", (4, 2, 1, 1, 6), {}, [(3, 2, 4), (3, 3, 4)]),
    ("Transformer", (4, 2, 1, 1, 6), {}, [(3, 2, 5), (3, 2, 5)]),
]
LOSSES = [
    ("CrossEntropyLoss", (), {}, [(4, 5), "int 3"]),
    ("CrossEntropyLoss", (), {"label_smoothing": 1.5}, [(4, 5), "int 4"]),
    ("CrossEntropyLoss", (), {"reduction": "max"}, [(4, 5), "int 4"]),
    ("CrossEntropyLoss", (), {"ignore_index": 2}, [(4, 5), (4, 5)]),
    ("NLLLoss", (), {}, [(4, 5), (4,)]),
    ("NLLLoss", (), {}, [(4, 5, 2), "int 4 3"]),
    ("MSELoss", (), {}, [(4, 5), (4, 3)]),
    ("L1Loss", (), {"reduction": "batchmean"}, [(4, 5), (4, 5)]),
    ("SmoothL1Loss", (), {"beta": -1.0}, [(4, 5), (4, 5)]),
    ("HuberLoss", (), {"delta": 0.0}, [(4, 5), (4, 5)]),
    ("KLDivLoss", (), {"reduction": "none of it"}, [(4, 5), (4, 5)]),
    ("BCELoss", (), {}, [(4, 5), (4, 4)]),
    ("BCEWithLogitsLoss", (), {}, [(4, 5), (4, 4)]),
    ("HingeEmbeddingLoss", (), {}, [(4, 5), (3, 5)]),
    ("MarginRankingLoss", (), {}, [(4,), (4,), (4, 1)]),
    ("CosineEmbeddingLoss", (), {}, [(4, 5), (4, 5), (4, 1)]),
    ("SoftMarginLoss", (), {}, [(4, 5), (3, 5)]),
    ("SoftMarginLoss", (), {}, [(1, 5), (4, 5)]),
    ("MultiMarginLoss", (3,), {}, []),
    ("MultiMarginLoss", (), {}, [(4, 5), "int 3"]),
    ("MultiLabelMarginLoss", (), {}, [(4, 5), "int 4 3"]),
    ("MultiLabelSoftMarginLoss", (), {}, [(4, 5), (4, 4)]),
    ("TripletMarginLoss", (), {"margin": 0.0}, []),
    ("TripletMarginWithDistanceLoss", (), {"margin": -1.0}, []),
    ("TripletMarginLoss", (), {}, [(4, 5), (4, 5), (5,)]),
    ("GaussianNLLLoss", (), {}, [(4, 5), (4, 5), (4, 2)]),
    ("PoissonNLLLoss", (), {"reduction": "max"}, [(4, 5), (4, 5)]),
    ("AdaptiveLogSoftmaxWithLoss", (8, 12, [5, 3]), {}, []),
    ("AdaptiveLogSoftmaxWithLoss", (8, 12, [3, 12]), {}, []),
    ("AdaptiveLogSoftmaxWithLoss", (8, 12, [3]), {}, [(2, 8), "int 3"]),
    ("AdaptiveLogSoftmaxWithLoss", (8, 12, [3]), {}, [(2, 8), (2,)]),
    ("CTCLoss", (), {}, [(6, 2, 4), "int 2 3", "int 3", "int 2"]),
    ("CTCLoss", (9,), {}, [(6, 2, 4), "int 2 3", "int 2", "int 2"]),
    ("CosineSimilarity", (), {}, [(2, 3), (4, 3)]),
    ("PairwiseDistance", (), {}, [(2, 3), (2, 4)]),
]
FUNCTIONS = [
    ("grid_sample", {"mode": "linear"}, [(1, 2, 3, 3), (1, 4, 4, 2)]),
    ("grid_sample", {"padding_mode": "wrap"}, [(1, 2, 3, 3), (1, 4, 4, 2)]),
    ("grid_sample", {}, [(1, 2, 3, 3), (2, 4, 4, 2)]),
    ("grid_sample", {"mode": "bicubic"}, [(1, 2, 3, 3, 3), (1, 4, 4, 4, 3)]),
    ("affine_grid", {"size": [2, 3, 4]}, [(2, 2, 3)]),
    ("affine_grid", {"size": [2, 3, 4, 0]}, [(2, 2, 3)]),
    ("one_hot", {"num_classes": 0}, ["int 3"]),
    ("one_hot", {}, [(3,)]),
    ("scaled_dot_product_attention", {}, [(2, 3, 4), (2, 5, 6), (2, 5, 6)]),
    ("scaled_dot_product_attention", {}, [(2, 3, 4), (2, 5, 4), (2, 5, 4), (4, 5)]),
    ("pad", {"pad": [1, 2, 3]}, [(2, 3)]),
    ("pad", {"pad": [1, 1], "mode": "wrap"}, [(2, 3)]),
    ("pad", {"pad": [], "mode": "circular"}, [(2, 3)]),
    ("hardtanh", {"min_val": 1.0, "max_val": -1.0}, [(3,)]),
    ("interpolate", {"size": 3, "antialias": True}, [(1, 2, 4)]),
    ("pdist", {}, [(2, 3, 4)]),
    ("gumbel_softmax", {"dim": 3}, [(2, 3)]),
    ("local_response_norm", {"size": 0}, [(1, 2, 3)]),
    ("normalize", {"dim": 2}, [(2, 3)]),
    ("embedding_bag", {"mode": "max", "offsets": "int 2", "per_sample_weights": (4,)},
     ["int 4", (7, 3)]),
    ("conv2d", {"groups": 2}, [(1, 4, 5, 5), (3, 2, 2, 2)]),
    ("conv2d", {}, [(1, 4, 5, 5), (3, 3, 2, 2)]),
    ("linear_cross_entropy", {}, [(4, 3), (5, 2), "int 4"]),
    ("linear", {}, [(4, 3), (5, 3), (4,)]),
    ("linear", {}, [(4, 3), "int 5 3"]),
    ("linear", {}, [(4, 3), (1, 5, 3)]),
    ("multi_head_attention_forward",
     {"embed_dim_to_check": 4, "num_heads": 2, "in_proj_weight": (12, 4), "in_proj_bias": (12,),
      "bias_k": (1, 1, 4), "bias_v": (3, 1, 4), "add_zero_attn": False, "dropout_p": 0.0,
      "out_proj_weight": (4, 4), "out_proj_bias": None}, [(2, 1, 4)] * 3),
    ("multi_head_attention_forward",
     {"embed_dim_to_check": 4, "num_heads": 2, "in_proj_weight": (12, 4), "in_proj_bias": (1, 12),
      "bias_k": None, "bias_v": None, "add_zero_attn": False, "dropout_p": 0.0,
      "out_proj_weight": (4, 4), "out_proj_bias": None}, [(2, 1, 4)] * 3),
    ("bilinear", {}, [(4, 3), (4, 2), (5, 3)]),
    ("bilinear", {}, [(4, 3), (4, 2), (5, 3, 2), (4,)]),
    ("bilinear", {}, [(4, 3), "int 4 2", (5, 3, 2)]),
    ("embedding", {}, ["int 3", (4,)]),
    ("instance_norm", {}, [(2, 3, 4), (3,)]),
    ("batch_norm", {"training": True, "running_var": None}, [(2, 3, 4), (3,)]),
    ("binary_cross_entropy", {"weight": (2, 4, 3)}, [(4, 3), (4, 3)]),
    ("binary_cross_entropy_with_logits", {"pos_weight": (2,)}, [(4, 3), (4, 3)]),
]  # fmt: skip
LAYERS = [*CHANNELS, *WINDOWS, *MATRICES, *LOSSES]


def array(given):
    """Zeros; of `"int 2 3"` integers. Other values as they are."""
    if isinstance(given, tuple) and all(isinstance(n, int) for n in given):
        return np.zeros(given, np.float32)
    if isinstance(given, str) and given.startswith("int "):
        return np.zeros([int(n) for n in given.split()[1:]], np.int64)
    return given


def tensors(values):
    return [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in map(array, values)]


def raises(call):
    """Whether a call raises anything: torch has ten kinds."""
    try:
        call()
    except Exception:
        return True
    return False


@pytest.mark.filterwarnings("ignore")  # torch's, of what it then refuses
@pytest.mark.parametrize("name, args, kwargs, on", LAYERS)
def test_layers(name, args, kwargs, on):
    def theirs():
        layer = getattr(torch.nn, name)(*args, **kwargs)
        return layer(*tensors(on)) if on else layer

    assert raises(theirs)
    with pytest.raises((ValueError, TypeError), match="expected|unknown"):
        layer = getattr(nn, name)(*args, **kwargs)
        assert on, "raises at a call, where torch does when built"
        variables = jax.eval_shape(layer.init, jax.random.key(0))
        jax.eval_shape(layer.apply, *variables, *[jnp.asarray(array(shape)) for shape in on])


@pytest.mark.parametrize("name, kwargs, on", FUNCTIONS)
def test_functions(name, kwargs, on):
    named = dict(zip(kwargs, tensors(kwargs.values())))
    assert raises(lambda: getattr(torch.nn.functional, name)(*tensors(on), **named))
    given = {k: array(v) for k, v in kwargs.items()}
    given = {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
    if name == "gumbel_softmax":
        given["key"] = jax.random.key(0)
    with pytest.raises((ValueError, TypeError), match="expected|out of bounds"):
        getattr(F, name)(*[jnp.asarray(array(shape)) for shape in on], **given)
