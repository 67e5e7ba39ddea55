"""What the layers say when built or called wrongly: the part, expected, got, what to do."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx import nn

KEY = jax.random.key(0)


class Net(nn.Module):
    """Puts a layer at "layer1.0.part", to see that errors name it."""

    def __init__(self, part):
        self.layer1 = nn.Sequential(nn.Sequential({"part": part}))

    def forward(self, *inputs):
        return self.layer1[0].part(*inputs)


def call(layer, *inputs, **kwargs):
    model = Net(layer)
    shapes = jax.eval_shape(model.init, KEY)  # no weight is looked at before an error
    variables = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)
    return model.apply(*variables, *inputs, **kwargs)


def x(*shape):
    return jnp.ones(shape)


CALLS = [
    (nn.Linear(64, 2), [x(8, 3)], "expected input [..., 64], got [8, 3]; set in_features=3"),
    (
        nn.Linear(12, 2),
        [x(8, 3, 2, 2)],
        "expected input [..., 12], got [8, 3, 2, 2]; put nn.Flatten() before it",
    ),
    (nn.Linear(3, 2), [x()], "expected input [..., 3], got []; give it an axis"),
    (
        nn.Bilinear(3, 4, 2),
        [x(8, 3), x(8, 3)],
        "expected input [..., 4], got [8, 3]; set in2_features to its",
    ),
    (
        nn.Conv2d(64, 2, 3),
        [x(8, 3, 32, 32)],
        "expected input [N, 64, H, W], got [8, 3, 32, 32]; set in_channels=3",
    ),
    (
        nn.Conv2d(3, 2, 3),
        [x(8, 32, 32, 3)],
        "its channels come last: move them, jnp.moveaxis(x, -1, 1)",
    ),
    (
        nn.Conv2d(3, 2, 3),
        [x(32, 32, 3)],
        "its channels come last: move them, jnp.moveaxis(x, -1, 0)",
    ),
    (
        nn.Conv1d(3, 2, 3),
        [x(8, 3, 32, 32)],
        "expected input [N, 3, L], got [8, 3, 32, 32]; "
        "it has 4 axes where 3 are due, or 2 without N",
    ),
    (
        nn.Conv3d(3, 2, 3),
        [x(8, 4, 5, 6, 7)],
        "expected input [N, 3, D, H, W], got [8, 4, 5, 6, 7]; set in_channels=4",
    ),
    (
        nn.BatchNorm2d(64),
        [x(8, 3, 2, 2)],
        "expected input [N, 64, H, W], got [8, 3, 2, 2]; set num_features=3",
    ),
    (
        nn.BatchNorm2d(3),
        [x(3, 2, 2)],
        "expected input [N, 3, H, W], got [3, 2, 2]; add the batch's axis, x[None]",
    ),
    (nn.BatchNorm2d(3), [x(8, 3)], "expected input [N, 3, H, W], got [8, 3]; use BatchNorm1d"),
    (
        nn.BatchNorm1d(3),
        [x(8, 3, 2, 2)],
        "expected input [N, 3] or [N, 3, L], got [8, 3, 2, 2]; use BatchNorm2d",
    ),
    (
        nn.InstanceNorm1d(3),
        [x(8, 4, 2)],
        "expected input [N, 3, L] or [3, L], got [8, 4, 2]; set num_features=4",
    ),
    (
        nn.InstanceNorm2d(3),
        [x(8, 3)],
        "expected input [N, 3, H, W] or [3, H, W], got [8, 3]; give it 4 axes",
    ),
    (
        nn.LayerNorm(64),
        [x(8, 32)],
        "expected input [..., 64], got [8, 32]; set normalized_shape=32",
    ),
    (
        nn.RMSNorm((2, 3)),
        [x(8, 3, 2)],
        "expected input [..., 2, 3], got [8, 3, 2]; set normalized_shape=(3, 2)",
    ),
    (nn.GroupNorm(2, 4), [x(8, 6)], "expected input [N, 4, ...], got [8, 6]; set num_channels=6"),
    (nn.GroupNorm(2, 4), [x(4)], "expected input [N, 4, ...], got [4]; give it a batch"),
    (nn.PReLU(5), [x(8, 3)], "expected input [N, 5, ...], got [8, 3]; set num_parameters=3"),
    (
        nn.Softmax2d(),
        [x(8, 3)],
        "expected input [N, C, H, W] or [C, H, W], got [8, 3]; use nn.Softmax(dim)",
    ),
    (
        nn.Flatten(2),
        [x(8, 3)],
        "expected input with the axes start_dim=2 to end_dim=-1, got [8, 3]; change",
    ),
    (
        nn.Unflatten(1, (2, 2)),
        [x(8, 3)],
        "expected input whose axis 1 splits into [2, 2], got [8, 3]",
    ),
    (
        nn.Unflatten(1, (-1, 2)),
        [x(8, 3)],
        "expected input whose axis 1 splits into [-1, 2], got [8, 3]",
    ),
    (
        nn.Unflatten(3, (-1, 2)),
        [x(8, 3)],
        "expected input whose axis 3 splits into [-1, 2], got [8, 3]",
    ),
]


@pytest.mark.parametrize(("layer", "inputs", "text"), CALLS, ids=[row[2][:60] for row in CALLS])
def test_shape_errors_name_the_part(layer, inputs, text):
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        call(layer, *inputs)
    assert str(caught.value).startswith(f'{type(layer).__name__} "layer1.0.part": ')


KINDS = [
    (
        nn.Conv2d(3, 2, 3),
        jnp.ones((8, 3, 5, 5), jnp.uint8),
        "expected float32 input, got uint8; convert images with fx.data.transforms.ToTensor",
    ),
    (
        nn.Conv1d(3, 2, 3),
        jnp.ones((8, 3, 5), jnp.int32),
        "expected float32 input, got int32; convert it with x.astype(jnp.float32)",
    ),
    (
        nn.Linear(3, 2),
        jnp.ones((8, 3), jnp.bfloat16),
        "expected float32 input, got bfloat16; convert the input, x.astype(jnp.float32), or",
    ),
    (
        nn.Linear(3, 2, dtype=jnp.bfloat16),
        jnp.ones((8, 3)),
        "expected bfloat16 input, got float32; convert the input, x.astype(jnp.bfloat16), or",
    ),
    (
        nn.Embedding(3, 2),
        jnp.ones((8, 3)),
        "expected integer input, got float32; convert indices with x.astype(jnp.int32)",
    ),
]


@pytest.mark.parametrize(("layer", "input", "text"), KINDS, ids=[row[2][:40] for row in KINDS])
def test_errors_of_kind_name_the_part(layer, input, text):
    with pytest.raises(TypeError, match=re.escape(text)) as caught:
        call(layer, input)
    assert str(caught.value).startswith(f'{type(layer).__name__} "layer1.0.part": ')


# What functional says gets the part's name as a note, which pytest's match sees too.
NOTED = [
    (nn.MaxPool2d(2), [x(8, 3)], "max_pool2d: expected input"),
    (nn.AvgPool1d(2), [x(8)], "avg_pool1d: expected input"),
    (nn.AdaptiveAvgPool2d((1, 2, 3)), [x(1, 8, 3, 2)], "adaptive_avg_pool2d: expected output_size"),
    (nn.Conv2d(3, 2, 9), [x(1, 3, 4, 4)], "conv2d: expected a window no larger"),
    (nn.BatchNorm1d(3), [x(1, 3)], "batch_norm: expected more than 1 value per channel"),
    (nn.Softmax(2), [x(2, 3)], "softmax: expected dim"),
    (nn.GELU("sigmoid"), [x(2)], 'gelu: expected approximate "none" or "tanh"'),
    (
        nn.CrossEntropyLoss(),
        [x(2, 3), jnp.zeros(3, jnp.int32)],
        "cross_entropy: expected target [2]",
    ),
    (nn.MSELoss(), [x(2, 3), x(2)], "mse_loss: expected target [2, 3]"),
    (nn.MSELoss(reduction="avg"), [x(2), x(2)], "mse_loss: expected reduction"),
]


@pytest.mark.parametrize(("layer", "inputs", "text"), NOTED, ids=[row[2][:40] for row in NOTED])
def test_errors_of_functional_name_the_part_in_a_note(layer, inputs, text):
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        call(layer, *inputs, train=True)
    assert caught.value.__notes__[0].endswith(f'{type(layer).__name__} "layer1.0.part"')


BUILT = [
    (lambda: nn.Linear(-1, 2), ValueError, "Linear: expected in_features of 0 or more, got -1"),
    (lambda: nn.Linear(3, 2.0), TypeError, "Linear: expected out_features an int, got 2.0"),
    (lambda: nn.Linear(3, True), TypeError, "Linear: expected out_features an int, got True"),
    (
        lambda: nn.Conv2d(4, 6, 3, groups=4),
        ValueError,
        "Conv2d: expected groups to divide in_channels and out_channels, "
        "got groups=4, in_channels=4, out_channels=6",
    ),
    (lambda: nn.Conv2d(3, 6, 3, groups=2), ValueError, "expected groups to divide in_channels"),
    (
        lambda: nn.Conv2d(3, 6, 3, groups=0),
        ValueError,
        "Conv2d: expected groups of 1 or more, got 0",
    ),
    (
        lambda: nn.Conv2d(3, 6, (3, 3, 3)),
        ValueError,
        "Conv2d: expected kernel_size an int or 2 ints, got (3, 3, 3)",
    ),
    (
        lambda: nn.Conv2d(3, 6, 0),
        ValueError,
        "Conv2d: expected kernel_size of 1 or more, got (0, 0)",
    ),
    (
        lambda: nn.Conv2d(3, 6, 1.5),
        ValueError,
        "Conv2d: expected kernel_size an int or 2 ints, got 1.5",
    ),
    (lambda: nn.Conv2d(3, 6, 3, 0), ValueError, "Conv2d: expected stride of 1 or more, got (0, 0)"),
    (
        lambda: nn.Conv2d(3, 6, 3, dilation=0),
        ValueError,
        "Conv2d: expected dilation of 1 or more, got (0, 0)",
    ),
    (
        lambda: nn.Conv1d(3, 6, 3, padding="full"),
        ValueError,
        """Conv1d: expected padding "same", "valid" or numbers of 0 or more, got 'full'""",
    ),
    (lambda: nn.Conv1d(3, 6, 3, padding=-1), ValueError, "or numbers of 0 or more, got (-1,)"),
    (
        lambda: nn.Conv2d(3, 6, 3, 2, "same"),
        ValueError,
        'Conv2d: expected stride 1 with padding="same", got stride=(2, 2); give the padding',
    ),
    (
        lambda: nn.Conv2d(3, 6, 3, padding_mode="mirror"),
        ValueError,
        "Conv2d: expected padding_mode one of zeros, reflect, replicate, circular; got 'mirror'",
    ),
    (
        lambda: nn.BatchNorm2d(0),
        ValueError,
        "BatchNorm2d: expected num_features of 1 or more, got 0",
    ),
    (
        lambda: nn.GroupNorm(3, 4),
        ValueError,
        "GroupNorm: expected num_groups to divide num_channels, got 3 groups of 4 channels",
    ),
    (
        lambda: nn.LayerNorm(()),
        ValueError,
        "LayerNorm: expected normalized_shape with a size, got ()",
    ),
    (
        lambda: nn.LayerNorm((3, -1)),
        ValueError,
        "LayerNorm: expected normalized_shape[1] of 0 or more, got -1",
    ),
    (
        lambda: nn.Dropout(1.5),
        ValueError,
        "Dropout: expected p between 0 and 1, got 1.5; p is what is dropped",
    ),
    (lambda: nn.Dropout2d(-0.1), ValueError, "Dropout2d: expected p between 0 and 1, got -0.1"),
    (
        lambda: nn.Embedding(3, 2, 3),
        ValueError,
        "Embedding: expected padding_idx among 3 rows, got 3",
    ),
    (
        lambda: nn.Embedding(3, 2, _weight=np.ones((2, 3))),
        ValueError,
        "Embedding: expected _weight [3, 2], got [2, 3]",
    ),
    (
        lambda: nn.Embedding.from_pretrained(np.ones(3)),
        ValueError,
        "Embedding.from_pretrained: expected a table [num, dim], got the shape (3,)",
    ),
    (
        lambda: nn.Hardtanh(1.0, 1.0),
        ValueError,
        "Hardtanh: expected max_val greater than min_val, got 1.0 and 1.0",
    ),
    (lambda: nn.PReLU(-1), ValueError, "PReLU: expected num_parameters of 0 or more, got -1"),
    (
        lambda: nn.Unflatten(1, (-1, -1)),
        ValueError,
        "Unflatten: expected sizes of 0 or more, and one -1 at the most, got (-1, -1)",
    ),
    (
        lambda: nn.Unflatten(1, 4),
        TypeError,
        "Unflatten: expected unflattened_size a tuple of ints, got 4",
    ),
    (
        lambda: nn.CrossEntropyLoss(label_smoothing=2),
        ValueError,
        "CrossEntropyLoss: expected label_smoothing between 0 and 1, got 2",
    ),
]


@pytest.mark.parametrize(("build", "kind", "text"), BUILT, ids=[row[2][:60] for row in BUILT])
def test_constructor_errors(build, kind, text):
    with pytest.raises(kind, match=re.escape(text)):
        build()
