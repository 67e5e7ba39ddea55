import sys
import threading

import numpy as np
import pytest

from fx import evaluate
from fx.evaluate import plots

PIL = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


def pixels(path):
    with PIL.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def has(image, hue, least=30):
    """Whether a colour of the palette is in the picture, antialiasing aside."""
    want = [int(hue[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(image - want).max(-1) < 8).sum() >= least


BLUE, ORANGE = "#0072B2", "#D55E00"


def predictions(classes=10, count=200):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return evaluate.softmax(logits), labels


def history(epochs):
    return [
        dict(
            epoch=e,
            train_loss=2 / e,
            val_loss=2.2 / e,
            train_accuracy=1 - 0.8 / e,
            val_accuracy=1 - 0.9 / e,
            learning_rate=1e-3 / e,
            seconds=3.0,
        )
        for e in range(1, epochs + 1)
    ]


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_learning_curves_draw_a_panel_a_metric(epochs, tmp_path):
    path = plots.learning_curves(history(epochs), tmp_path / "new" / "curves.png")
    image = pixels(path)
    assert image.shape == (510, 1980, 3)  # three panels of 4.4 in, 3.4 in high, 150 dpi
    for panel in np.split(image[:, :1320], 2, axis=1):
        assert has(panel, BLUE) and has(panel, ORANGE)
    assert has(image[:, 1320:], "#333333") and not has(image[:, 1400:], BLUE)


def test_learning_curves_take_gaps_and_what_there_is(tmp_path):
    entries = [
        {"train_loss": 2.0},
        {"train_loss": float("nan"), "val_loss": None, "train_perplexity": float("inf")},
        {"train_loss": np.float32(1.0), "val_loss": 1.5, "train_perplexity": 3.0},
    ]
    image = pixels(plots.learning_curves(entries, tmp_path / "curves.png"))
    assert image.shape == (510, 1320, 3)
    assert has(image[:, :660], BLUE) and not has(image[:, 700:], BLUE)


def test_learning_curves_draw_a_rate_for_each_group(tmp_path):
    rates = {"learning_rate": 0.1, "learning_rate/head": 0.1, "learning_rate/body": 0.01}
    entries = [{"train_loss": 1 / e} | {k: v / e for k, v in rates.items()} for e in (1, 2, 3)]
    image = pixels(plots.learning_curves(entries, tmp_path / "curves.png"))
    rate = image[:, 660:]
    assert has(rate, BLUE) and has(rate, ORANGE)


@pytest.mark.parametrize("classes", [2, 10, 40, 130])
def test_confusion_matrix_draws_any_number_of_classes(classes, tmp_path):
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 5, (classes, classes)) + 50 * np.eye(classes, dtype=int)
    path = plots.confusion_matrix(confusion, tmp_path / "confusion.png")
    image = pixels(path)
    side = min(max(0.62 * classes, 3.2), 14)
    assert image.shape == (int(150 * (side + 1.2)), int(150 * (side + 2.2)), 3)
    # The diagonal is dark blue and most of the rest light.
    dark = (image[..., 2] > image[..., 0] + 50).mean()
    assert 0.001 < dark < 0.6


def test_confusion_matrix_shades_by_share_of_the_true_class(tmp_path):
    few = pixels(plots.confusion_matrix([[3, 1], [0, 4]], tmp_path / "few.png"))
    rows = pixels(plots.confusion_matrix([[3, 1], [0, 4000]], tmp_path / "rows.png"))
    assert (few != rows).any(-1).mean() < 0.02  # only a number and the title differ
    empty = plots.confusion_matrix([[0, 0], [0, 4]], tmp_path / "empty.png")
    assert pixels(empty).min() < 100


def test_sample_predictions_mark_right_and_wrong(tmp_path):
    images = np.random.default_rng(0).integers(100, 156, (10, 32, 32, 3), np.uint8)
    probabilities = np.tile([0.9, 0.1], (10, 1))
    draw = lambda labels: pixels(
        plots.sample_predictions(
            images, np.array(labels), probabilities, tmp_path / "s.png", ["cat", "dog"]
        )
    )
    all_right, all_wrong = draw([0] * 10), draw([1] * 10)
    assert all_right.shape == (585, 1620, 3)  # two rows of 8 columns, the last six cells empty
    assert has(all_right, BLUE) and not has(all_right, ORANGE, 1)
    assert has(all_wrong, ORANGE) and not has(all_wrong, BLUE, 1)
    assert all_right[330:, 500:].min() > 250


def test_sample_predictions_show_the_pixels_and_take_grey(tmp_path):
    red = np.zeros((1, 8, 8, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    grey = np.full((1, 8, 8, 1), 77, np.uint8)
    for images, hue in ((red, "#C80000"), (grey, "#4D4D4D")):
        path = plots.sample_predictions(images, [0], [[1.0, 0.0]], tmp_path / "s.png")
        assert has(pixels(path), hue, 10_000)


def test_roc_curves_and_reliability_are_drawn(tmp_path):
    probabilities, labels = predictions()
    labels[labels == 3] = 4  # a class without a curve
    roc = pixels(plots.roc_curves(probabilities, labels, tmp_path / "roc.png"))
    assert roc.shape == (690, 780, 3) and has(roc, ORANGE) and has(roc, "#009E73")
    calibration = pixels(plots.reliability(probabilities, labels, tmp_path / "calibration.png"))
    assert calibration.shape == (780, 690, 3) and has(calibration, BLUE)
    sure = plots.reliability(np.eye(2)[[0, 1, 1]], [0, 1, 0], tmp_path / "sure.png")
    assert has(pixels(sure), BLUE)


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_the_ending_chooses_the_format(kind, tmp_path):
    path = plots.confusion_matrix([[1, 0], [0, 1]], tmp_path / f"matrix.{kind}")
    assert path.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-"}[kind]
    assert list(tmp_path.iterdir()) == [path]


def test_names_with_dollar_signs_are_not_mathematics(tmp_path):
    path = plots.confusion_matrix([[1, 0], [0, 1]], tmp_path / "m.png", [r"$\frac$", "1 $"])
    assert pixels(path).min() < 100


def test_pictures_leave_pyplot_alone_and_can_be_drawn_on_a_thread(tmp_path):
    path = tmp_path / "curves.png"
    thread = threading.Thread(target=plots.learning_curves, args=(history(3), path))
    thread.start()
    thread.join()
    assert has(pixels(path), BLUE)
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ImportError, match=r"expected matplotlib.*pip install '\.\[plots\]' in fx's folder"
    ):
        plots.learning_curves(history(1), tmp_path / "curves.png")


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
P = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda path: plots.learning_curves([], path),
            ValueError,
            "plots.learning_curves: expected at least one epoch, got an empty history",
        ),
        (
            lambda path: plots.learning_curves([{"seconds": 1.0}], path),
            ValueError,
            r"expected epochs with keys such as train_loss.*, got 1 epochs with \['seconds'\]",
        ),
        (
            lambda path: plots.confusion_matrix(np.zeros((2, 3), int), path),
            ValueError,
            r"plots.confusion_matrix: expected \[K, K\], got \[2, 3\]",
        ),
        (
            lambda path: plots.confusion_matrix(np.eye(2, dtype=int), path, ["a"]),
            ValueError,
            "plots.confusion_matrix: expected 2 class names, got 1",
        ),
        (
            lambda path: plots.sample_predictions(IMAGES * 1.0, [0, 1], P, path),
            TypeError,
            "plots.sample_predictions: expected uint8 images, got float64",
        ),
        (
            lambda path: plots.sample_predictions(IMAGES[..., :2], [0, 1], P, path),
            ValueError,
            r"expected images \[N, H, W, C\] with C of 1 or 3, got \[2, 4, 4, 2\]",
        ),
        (
            lambda path: plots.sample_predictions(IMAGES[:1], [0, 1], P, path),
            ValueError,
            "plots.sample_predictions: expected 2 images, one a label, got 1",
        ),
        (
            lambda path: plots.sample_predictions(IMAGES, [0, 1], P, path, columns=0),
            ValueError,
            "plots.sample_predictions: expected columns of 1 or more, got 0",
        ),
        (
            lambda path: plots.sample_predictions(IMAGES, [0, 1], P * 4, path),
            ValueError,
            "plots.sample_predictions: expected probabilities, rows of numbers",
        ),
        (
            lambda path: plots.roc_curves(P, [1, 1], path),
            ValueError,
            "plots.roc_curves: expected labels of two classes or more, got only 1",
        ),
    ],
)
def test_errors_say_what_was_expected_and_leave_no_file(call, error, text, tmp_path):
    with pytest.raises(error, match=text):
        call(tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())
