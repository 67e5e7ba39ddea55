import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from fx.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tests.functional.check import assert_close, check, normal, sample

STEPS, COUNTS = np.array([8, 5, 7]), np.array([3, 0, 4])
LABELS = np.array([[1, 1, 2, 0], [2, 2, 2, 2], [0, 1, 0, 0]])  # of 4 classes, the last one blank


def logits(*shape):
    return normal(*shape, scale=2.0)


def log_probs(*shape):
    return np.asarray(jax.nn.log_softmax(logits(*shape)))


def theirs(x, labels, steps, counts, **kwargs):
    return TF.ctc_loss(x, *map(torch.as_tensor, (labels, steps, counts)), **kwargs)


@pytest.mark.parametrize("reduction", sample(["mean", "sum", "none"], 1))
def test_against_torch(reduction):
    kwargs = {"blank": 3, "reduction": reduction}
    check(
        lambda x: F.ctc_loss(x, jnp.asarray(LABELS), STEPS, tuple(COUNTS), **kwargs),
        lambda x: theirs(x, LABELS, STEPS, COUNTS, **kwargs),
        log_probs(8, 3, 4),
        second=False,  # torch has none
    )


@pytest.mark.full
def test_through_log_softmax():
    check(
        lambda x: F.ctc_loss(jax.nn.log_softmax(x), jnp.asarray(LABELS), STEPS, COUNTS, 3),
        lambda x: theirs(x.log_softmax(-1), LABELS, STEPS, COUNTS, blank=3),
        logits(8, 3, 4),
        second=False,
    )


def test_labels_one_behind_the_other():
    x = jnp.asarray(log_probs(8, 3, 4))
    flat = jnp.concatenate([jnp.asarray(row[:n]) for row, n in zip(LABELS, COUNTS)])
    expected = F.ctc_loss(x, jnp.asarray(LABELS), STEPS, COUNTS, 3, "none")
    assert_close(F.ctc_loss(x, flat, STEPS, COUNTS, 3, "none"), expected)
    traced = jax.jit(lambda *a: F.ctc_loss(*a, 3, "none"))
    assert_close(traced(x, flat, jnp.asarray(STEPS), jnp.asarray(COUNTS)), expected)


def test_without_a_batch():
    check(
        lambda x: F.ctc_loss(x, jnp.array([1, 1]), 6, 2),
        lambda x: TF.ctc_loss(x, torch.tensor([1, 1]), torch.tensor(6), torch.tensor(2)),
        log_probs(6, 3),
        second=False,
    )


def test_labels_that_do_not_fit():
    x, labels = jnp.asarray(log_probs(2, 2, 3)), jnp.array([[1, 1], [1, 2]])
    loss = lambda x, zero: F.ctc_loss(x, labels, (2, 2), (2, 2), 0, "none", zero)
    assert jnp.isinf(loss(x, False)).tolist() == [True, False]
    assert loss(x, True)[0] == 0
    gradient = jax.grad(lambda x: loss(x, True).sum())(x)
    tensor = torch.from_numpy(np.array(x)).requires_grad_()
    theirs(tensor, labels.tolist(), [2, 2], [2, 2], reduction="sum", zero_infinity=True).backward()
    assert_close(gradient, tensor.grad)
    assert jnp.isfinite(jax.grad(lambda x: loss(x, False).sum())(x)).all()


def test_no_time_at_all():
    x = jnp.asarray(log_probs(2, 2, 3))
    loss = F.ctc_loss(x, jnp.array([[1], [1]]), (0, 0), (0, 1), reduction="none")
    assert loss.tolist() == [0.0, float("inf")]


def test_impossible_classes():
    x = jnp.asarray(log_probs(5, 1, 3)).at[:, :, 2].set(-jnp.inf)
    loss, gradient = jax.value_and_grad(lambda x: F.ctc_loss(x, jnp.array([[1]]), (5,), (1,)))(x)
    assert jnp.isfinite(loss) and jnp.isfinite(gradient).all()


def test_what_is_out_of_range_is_nan():
    x, labels = jnp.zeros((4, 2, 3)), jnp.array([[1, 2], [1, 3]])
    run = jax.jit(lambda *lengths: F.ctc_loss(x, labels, *map(jnp.stack, lengths), 0, "none"))
    assert jnp.isnan(run((4, 4), (2, 2))).tolist() == [False, True]
    assert jnp.isnan(run((4, 4), (2, 1))).tolist() == [False, False]
    assert jnp.isnan(run((5, 4), (2, 1))).tolist() == [True, False]
    assert jnp.isnan(run((4, 4), (3, 1))).tolist() == [True, False]


def test_known_lengths_out_of_range_are_refused():
    x, labels = jnp.zeros((4, 2, 3)), jnp.ones((2, 2), jnp.int32)
    with pytest.raises(ValueError, match=r"expected input_lengths from 0 to 4, got \[5, 4]"):
        F.ctc_loss(x, labels, (5, 4), (2, 1))
    with pytest.raises(ValueError, match=r"expected target_lengths from 0 to 2, got \[2, -1]"):
        F.ctc_loss(x, labels, (4, 4), jnp.array([2, -1]))
    with pytest.raises(ValueError, match=r"target_lengths from 0 to 4 with that sum, got \[2, 1]"):
        F.ctc_loss(x, labels.ravel(), (4, 4), (2, 1))
    with pytest.raises(ValueError, match=r"target_lengths from 0 to 3 with that sum, got 2;"):
        F.ctc_loss(x[:, 0], jnp.array([1, 2, 1]), 4, 2)


def test_low_precision_is_kept():
    x = jnp.asarray(log_probs(8, 3, 4), jnp.bfloat16)
    run = lambda x: F.ctc_loss(x, jnp.asarray(LABELS), STEPS, COUNTS, 3)
    assert run(x).dtype == jnp.bfloat16
    assert_close(run(x), run(x.astype(jnp.float32)), "bfloat16")


def test_errors():
    x, labels, two = jnp.zeros((4, 2, 3)), jnp.ones((2, 2), jnp.int32), (2, 2)
    with pytest.raises(ValueError, match=r"expected log_probs \[T, N, C] or \[T, C], got \[4]"):
        F.ctc_loss(x[:, 0, 0], labels, two, two)
    with pytest.raises(ValueError, match=r"expected blank in \[0, 3\), the classes, got 3"):
        F.ctc_loss(x, labels, two, two, 3)
    with pytest.raises(ValueError, match=r"expected input_lengths \[2], one for each .* got \[1]"):
        F.ctc_loss(x, labels, (4,), two)
    with pytest.raises(ValueError, match=r"expected targets \[2, S] or .* got \[3, 2]"):
        F.ctc_loss(x, jnp.ones((3, 2), jnp.int32), two, two)
    with pytest.raises(TypeError, match="expected integer targets, got float32"):
        F.ctc_loss(x, labels.astype(jnp.float32), two, two)
    with pytest.raises(TypeError, match="expected target_lengths integer, got float32"):
        F.ctc_loss(x, labels, two, jnp.ones(2))
    with pytest.raises(ValueError, match="ctc_loss: expected reduction"):
        F.ctc_loss(x, labels, two, two, reduction="batchmean")


def test_counts_have_one_dtype_under_x64(x64):
    even = jnp.log(jnp.full((4, 2, 3), 1 / 3))
    labels, lengths = np.array([1, 2, 1], np.int32), np.array([2, 1], np.int32)
    loss = F.ctc_loss(even, labels, np.array([4, 3], np.int32), lengths)
    assert loss.dtype == jnp.float64
    packed = pack_padded_sequence(jnp.ones((3, 2, 1)), lengths)
    assert pad_packed_sequence(packed)[0].shape == (2, 2, 1)


def test_nothing_is_refused():
    with pytest.raises(
        ValueError, match=r"ctc_loss: expected log_probs with elements, got \[3, 0, "
    ):
        F.ctc_loss(jnp.ones((3, 0, 2)), jnp.ones((0, 1), jnp.int32), (), ())
