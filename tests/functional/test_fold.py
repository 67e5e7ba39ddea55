import itertools

import jax.numpy as jnp
import pytest
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import check, check_bfloat16, normal, sample

CASES = [
    ((2, 3, 5, 6), {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 0)}),
    ((3, 5, 6), {"kernel_size": 2, "dilation": (2, 3), "padding": 1}),
    ((2, 1, 4, 4), {"kernel_size": 3}),
]
CASES += [
    ((2, 2, 6, 5), {"kernel_size": (k, 2), "dilation": d, "padding": p, "stride": s})
    for k, d, p, s in itertools.product((1, 3), (1, 2), (0, 1), (1, 2, 3))
]


@pytest.mark.parametrize("case", sample(CASES, 1), ids=str)
def test_unfold(case):
    shape, arguments = case
    check(lambda x: F.unfold(x, **arguments), lambda x: TF.unfold(x, **arguments), normal(*shape))


@pytest.mark.parametrize("case", sample(CASES, 2), ids=str)
def test_fold(case):
    shape, arguments = case
    columns = F.unfold(jnp.asarray(normal(*shape)), **arguments)
    check(
        lambda x: F.fold(x, shape[-2:], **arguments),
        lambda x: TF.fold(x, shape[-2:], **arguments),
        columns,
    )


def test_low_precision_is_kept():
    check_bfloat16(lambda x: F.fold(x, 4, 2), normal(2, 4, 9))
    assert F.unfold(jnp.ones((1, 2, 4), jnp.int32), 2).dtype == jnp.int32


def test_errors():
    x = jnp.ones((2, 3, 5, 6))
    with pytest.raises(ValueError, match=r"unfold: expected input \[N, C, H, W] or \[C, H, W], go"):
        F.unfold(x[0, 0], 2)
    with pytest.raises(ValueError, match=r"unfold: expected a window no larger than the padded"):
        F.unfold(x, 6)
    with pytest.raises(ValueError, match=r"unfold: expected stride of 1 or more, got \(0, 0\)"):
        F.unfold(x, 2, stride=0)
    with pytest.raises(ValueError, match=r"fold: expected input \[N, C \* kh \* kw, windows] or"):
        F.fold(x, 4, 2)
    with pytest.raises(
        ValueError, match=r"expected input \[N, C \* 4, 9] for 3 x 3 windows of 2 x"
    ):
        F.fold(jnp.ones((2, 4, 8)), 4, 2)
