import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fx import evaluate


def sample(classes, count=400, seed=0, ties=False):
    """Scores and labels; with ties, the scores have few distinct values."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    scores = rng.normal(size=(count, classes)) + np.eye(classes)[labels]
    return (np.round(scores) if ties else scores).astype(np.float32), labels


CASES = [(2, False), (2, True), (10, False), (10, True)]


@pytest.mark.parametrize(("classes", "ties"), CASES)
def test_accuracy_is_scikit_learns(classes, ties):
    scores, labels = sample(classes, ties=ties)
    want = sk.accuracy_score(labels, scores.argmax(1))
    np.testing.assert_allclose(evaluate.accuracy(scores, labels), want, rtol=1e-6)
    got = jax.jit(evaluate.classification_metrics)(scores, labels)
    assert set(got) == {"accuracy"} and got["accuracy"].total.dtype == jnp.float32
    assert got["accuracy"].weight == len(labels)
    np.testing.assert_allclose(got["accuracy"].total / len(labels), want, rtol=1e-6)


@pytest.mark.parametrize("ignored", [-100, 0])
def test_classification_metrics_leave_out_what_the_loss_ignores(ignored):
    scores, labels = sample(5)
    labels[:150] = ignored
    counts = labels != ignored
    got = evaluate.classification_metrics(scores, labels, ignore_index=ignored)["accuracy"]
    want = sk.accuracy_score(labels[counts], scores[counts].argmax(1), normalize=False)
    assert (float(got.total), float(got.weight)) == (want, counts.sum())
    none = evaluate.classification_metrics(scores, np.full(400, ignored), ignored)["accuracy"]
    assert (float(none.total), float(none.weight)) == (0, 0)


@pytest.mark.parametrize("k", [1, 2, 5, 9])
@pytest.mark.parametrize("ties", [False, True])
def test_top_k_accuracy_is_scikit_learns_with_ties_to_the_lowest_index(k, ties):
    scores, labels = sample(10, ties=ties)
    # Read backwards, scikit-learn's highest index of equal scores is the lowest.
    want = sk.top_k_accuracy_score(9 - labels, scores[:, ::-1], k=k, labels=range(10))
    np.testing.assert_allclose(evaluate.top_k_accuracy(scores, labels, k), want, rtol=1e-6)


def test_top_1_is_accuracy_where_all_scores_tie():
    scores, labels = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])
    assert evaluate.top_k_accuracy(scores, labels, 1) == evaluate.accuracy(scores, labels) == 0.5


@pytest.mark.parametrize("classes", [2, 10])
def test_cross_entropy_and_perplexity_are_scikit_learns(classes):
    logits, labels = sample(classes)
    want = sk.log_loss(labels, evaluate.softmax(logits), labels=range(classes))
    np.testing.assert_allclose(jax.jit(evaluate.cross_entropy)(logits, labels), want, rtol=1e-5)
    np.testing.assert_allclose(evaluate.perplexity(logits, labels), np.exp(want), rtol=1e-5)


def test_cross_entropy_computes_in_float32_and_keeps_float64(x64):
    logits, labels = sample(5)
    half = jnp.asarray(logits, jnp.bfloat16)
    got = evaluate.cross_entropy(half, labels)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(
        got, evaluate.cross_entropy(half.astype(jnp.float32), labels), rtol=1e-6
    )
    assert evaluate.cross_entropy(logits.astype(np.float64), labels).dtype == jnp.float64


def test_cross_entropy_is_finite_for_large_logits():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    assert evaluate.cross_entropy(logits, np.array([0, 0])) == 1e4


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_is_wrong_in_accuracy_and_nan_in_the_loss(label):
    logits, labels = np.zeros((2, 3), np.float32), np.array([0, label])
    assert evaluate.accuracy(logits, labels) == 0.5
    assert np.isnan(evaluate.cross_entropy(logits, labels))


@pytest.mark.parametrize(
    "function",
    [evaluate.accuracy, evaluate.top_k_accuracy, evaluate.cross_entropy, evaluate.perplexity],
)
def test_a_mask_leaves_padding_out_whatever_is_in_it(function):
    logits, labels = sample(10, 60)
    padded = np.concatenate([logits, np.full((4, 10), np.nan, np.float32)])
    targets = np.concatenate([labels, np.full(4, -1)])
    mask = np.arange(64) < 60
    got = jax.jit(lambda *args: function(args[0], args[1], mask=args[2]))(padded, targets, mask)
    np.testing.assert_allclose(got, function(logits, labels), rtol=1e-6)
    assert np.isnan(function(logits, labels, mask=np.zeros(60, bool)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_confusion_matrix_is_scikit_learns_for_every_integer_dtype(dtype):
    scores, labels = sample(100, 2000)  # 99 * 100 + 99 does not fit into uint8
    predictions = scores.argmax(1).astype(dtype)
    got = jax.jit(evaluate.confusion_matrix, static_argnums=2)(
        labels.astype(dtype), predictions, 100
    )
    want = sk.confusion_matrix(labels, predictions, labels=range(100))
    np.testing.assert_array_equal(got, want)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), min_size=2),
    st.integers(1, 30),
)
@settings(max_examples=20, deadline=None)
def test_confusion_matrices_of_parts_add_up(rows, cut):
    labels, predictions, mask = (np.array(column) for column in zip(*rows))
    cut = min(cut, len(rows) - 1)
    parts = [
        evaluate.confusion_matrix(labels[part], predictions[part], 5, mask[part])
        for part in (slice(None, cut), slice(cut, None))
    ]
    whole = evaluate.confusion_matrix(labels, predictions, 5, mask)
    np.testing.assert_array_equal(parts[0] + parts[1], whole)
    assert whole.sum() == mask.sum()


def test_confusion_matrix_counts_classes_outside_nowhere():
    got = evaluate.confusion_matrix(np.array([0, -1, 5, 1]), np.array([0, 0, 1, -1]), 2)
    assert got.tolist() == [[1, 0], [0, 0]]


def test_metrics_take_any_leading_shape_and_vmap():
    logits, labels = sample(4, 24)
    grid, places = logits.reshape(2, 3, 4, 4), labels.reshape(2, 3, 4)
    for function in (evaluate.accuracy, evaluate.cross_entropy):
        np.testing.assert_allclose(function(grid, places), function(logits, labels), rtol=1e-6)
        each = jax.vmap(function)(jnp.asarray(logits), jnp.asarray(labels))
        assert each.shape == (24,)
        np.testing.assert_allclose(each.mean(), function(logits, labels), rtol=1e-6)


def test_cross_entropy_has_gradients_where_padding_is_nan():
    logits = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    mask = np.array([True, False])
    gradient = jax.grad(evaluate.cross_entropy)(logits, np.array([0, -1]), mask)
    want = evaluate.softmax(logits[:1]) - np.eye(2)[[0]]
    np.testing.assert_allclose(gradient, np.concatenate([want, [[0, 0]]]), atol=1e-6)


LOGITS, LABELS = np.zeros((8, 10), np.float32), np.zeros(8, int)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: evaluate.accuracy(LOGITS, LABELS[:4]),
            ValueError,
            r"accuracy: expected targets \[8\] for outputs \[8, 10\], got \[4\]",
        ),
        (
            lambda: evaluate.accuracy(LOGITS, LOGITS),
            TypeError,
            r"accuracy: expected integer labels \[8\], got probabilities \[8, 10\]; "
            r"pass targets.argmax\(-1\)",
        ),
        (
            lambda: evaluate.cross_entropy(LOGITS, LABELS * 1.0),
            TypeError,
            "cross_entropy: expected integer targets, got float",
        ),
        (
            lambda: evaluate.accuracy(LOGITS[:0], LABELS[:0]),
            ValueError,
            r"accuracy: expected at least one example, got targets \[0\]",
        ),
        (
            lambda: evaluate.accuracy(1.0, 0),
            ValueError,
            r"accuracy: expected outputs \[..., K\], a score per class, got a scalar",
        ),
        (
            lambda: evaluate.accuracy(LOGITS[:, :1], LABELS),
            ValueError,
            r"accuracy: expected outputs .* of 2 classes or more, got \[8, 1\]; of one logit",
        ),
        (
            lambda: evaluate.accuracy(LOGITS[:, 0], LABELS.astype(np.float32)),
            ValueError,
            r"accuracy: expected outputs .* of 2 classes or more, got \[8\]; of one logit for two",
        ),
        (
            lambda: evaluate.accuracy(LOGITS, LABELS, np.ones(8)),
            TypeError,
            "accuracy: expected a bool mask, got float",
        ),
        (
            lambda: evaluate.accuracy(LOGITS, LABELS, np.ones(4, bool)),
            ValueError,
            r"accuracy: expected mask \[8\], got \[4\]",
        ),
        (
            lambda: evaluate.top_k_accuracy(LOGITS, LABELS, 11),
            ValueError,
            "top_k_accuracy: expected k from 1 to the number of classes, 10, got k=11",
        ),
        (
            lambda: evaluate.confusion_matrix(LABELS, LABELS[:4], 10),
            ValueError,
            r"confusion_matrix: expected labels and predictions of one shape, got \[8\] and \[4\]",
        ),
        (
            lambda: evaluate.confusion_matrix(LABELS, LOGITS[:, 0], 10),
            TypeError,
            "confusion_matrix: expected integer predictions, got float32",
        ),
        (
            lambda: evaluate.confusion_matrix(LABELS, LABELS, 0),
            ValueError,
            "confusion_matrix: expected num_classes of 1 or more, got 0",
        ),
    ],
)
def test_errors_say_what_was_expected(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_metrics_of_outputs_that_are_not_numbers_are_none():
    """The largest of them would be the first class."""
    labels = jnp.array([0, 1, 0, -100])
    sound = jnp.eye(2)[jnp.array([0, 1, 0, 1])]
    of_one = sound.at[2, 1].set(jnp.nan)
    of_none_that_counts = sound.at[3].set(jnp.nan)
    for outputs, lost in ((of_one, True), (of_none_that_counts, False)):
        found = jax.jit(evaluate.classification_metrics)(outputs, labels)["accuracy"]
        assert bool(jnp.isnan(found.total)) == lost
        assert bool(jnp.isnan(evaluate.f1_metrics(outputs, labels)["f1"].value())) == lost
        for metric in (evaluate.accuracy, evaluate.top_k_accuracy):
            options = {"k": 1} if metric is evaluate.top_k_accuracy else {}
            assert bool(jnp.isnan(metric(outputs, labels, mask=labels >= 0, **options))) == lost
