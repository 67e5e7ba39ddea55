import numpy as np
import pytest

from fx.evaluate import drawing
from fx.evaluate.lr_plot import lr_range

RATES = np.geomspace(1e-6, 1, 60)
LOSSES = np.where(np.arange(60) < 50, np.linspace(2, 1, 60), 1e6)


@pytest.fixture
def drawn(monkeypatch):
    """The figure, as it is saved."""
    pytest.importorskip("matplotlib")
    figures = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: figures.append(figure) or path)
    return figures


def test_marks_stand_on_the_line(drawn, tmp_path):
    smooth = np.linspace(2, 1, 60)
    lr_range(RATES, smooth, smooth, tmp_path / "lr.png", {"a $b$ $": RATES[10], "c": RATES[20]})
    (axis,) = drawn[0].axes
    dots = [line for line in axis.lines if line.get_marker() in ("o", "s")]
    for dot, place in zip(dots, (10, 20), strict=True):
        np.testing.assert_allclose(dot.get_xdata()[0], RATES[place])
        np.testing.assert_allclose(dot.get_ydata()[0], smooth[place], rtol=1e-9)
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == [rf"a \$b\$ \$: {RATES[10]:.2g}", f"c: {RATES[20]:.2g}"]
    assert axis.get_xscale() == "log"


def test_an_explosion_leaves_the_fall_in_sight(drawn, tmp_path):
    lr_range(RATES, LOSSES, LOSSES, tmp_path / "lr.png")
    (axis,) = drawn[0].axes
    low, high = axis.get_ylim()
    assert low < 1.2 and 2 < high < 5 and axis.get_legend() is None


def test_a_loss_that_stays(drawn, tmp_path):
    lr_range(RATES, np.ones(60), np.ones(60), tmp_path / "lr.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 1 < high


@pytest.mark.parametrize("lengths", [(0, 0, 0), (3, 2, 3), (3, 3, 2)])
def test_lengths_must_agree(lengths, tmp_path):
    with pytest.raises(
        ValueError, match="expected rates, losses and smoothed losses of one length"
    ):
        lr_range(*(np.ones(n) for n in lengths), tmp_path / "lr.png")
