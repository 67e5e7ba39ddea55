import pytest
from PIL import Image

from benchmarks import gpu, growth, loader, pipeline, publish, train_step
from benchmarks.page import plots, verdict
from benchmarks.page.results import load, number, of

RESULTS = load()


def test_the_page_is_what_the_results_say(tmp_path):
    made = plots.draw(RESULTS, tmp_path)
    assert publish.PAGE.read_text() == publish.page(RESULTS, made), "python -m benchmarks.publish"
    assert made
    for (claim, kind), name in made.items():
        with Image.open(publish.IMAGES / name) as committed, Image.open(tmp_path / name) as drawn:
            assert committed.info["Description"] == plots.digest(of(RESULTS, claim, kind)), name
            assert committed.size == drawn.size


@pytest.mark.parametrize("path", publish.TABLES, ids=lambda path: path.name)
def test_tables_in_other_pages_are_what_the_results_say(path):
    text = path.read_text()
    assert publish.filled(text, publish.TABLES[path](RESULTS)) == text


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="expected a part between marks"):
        publish.filled("no marks", "made")


def test_no_other_page_has_pictures_of_benchmarks_that_are_gone():
    made = {path.name for path in publish.IMAGES.glob("benchmarks-*.png")}
    text = publish.PAGE.read_text()
    assert made and all(f"images/{name}" in text for name in made)


def entry(**ratios):
    settings = {"network": "convnet", "batch": 128, "precision": "float32"}
    named = {getattr(train_step, name): ratio for name, ratio in ratios.items()}
    return {"settings": settings, "contenders": {train_step.FX: {"ratios": named}}}


def test_what_is_lost_is_said_and_what_is_even_is_not():
    name = "train_step-cpu-convnet-128-float32"
    assert verdict.losses({name: entry(EAGER=1.2, CHANNELS_LAST=0.98)}) == []
    (line,) = verdict.losses({name: entry(EAGER=0.8, CHANNELS_LAST=0.5)})
    assert line == (
        "- CPU: training step, ConvNet, batch 128, float32: fx's speed is 0.80 times PyTorch "
        "eager's, 0.50 times PyTorch eager, channels-last's."
    )
    heavy = entry(EAGER=1.2)
    heavy["contenders"][train_step.FX]["host_growth_bytes"] = 2**21
    heavy["contenders"][train_step.EAGER] = {"host_growth_bytes": 2**20}
    (line,) = verdict.losses({name: heavy})
    assert line.endswith("fx holds 2 MB, PyTorch eager 1 MB.")
    seeds = {"settings": {"seeds": 32}, "models": {"convnet": {"speed_up": 0.53}}}
    (line,) = verdict.losses({"seeds-gpu-convnet": seeds})
    assert line.startswith("- GPU: 32 seeds of the convnet as one program run at 0.53 times")


def lines_of(name, entry):
    return verdict.losses({name: entry})


def test_losses_to_other_than_pytorch_are_said():
    name = "train_step-cpu-convnet-128-float32"
    (line,) = lines_of(name, entry(EAGER=1.2, NNX=0.5))
    assert line.endswith("fx's speed is 0.50 times Flax NNX's.")


def test_a_slower_start_is_said_beside_the_soonest():
    times = {"PyTorch eager, channels-last": 2.0, "onnxruntime": 0.5, "fx": 1.0, "fx, cached": 0.4}
    starts = {"predict": {who: {"median": seconds} for who, seconds in times.items()}}
    (line,) = lines_of("cold_start-cpu", {"starts": starts})
    assert line == ("- CPU: cold start to the first prediction, fx: 2.0 times onnxruntime's time.")


def test_slower_growth_and_loaders_are_said():
    sizes = {"16": {"median": 100.0}, "64": {"median": 100.0}}
    ours = {"16": {"median": 80.0}, "64": {"median": 99.0}}
    parts = {"batch": {growth.TORCH: sizes, growth.FX: ours}}
    (line,) = lines_of("growth-cpu", {"parts": parts})
    assert line == (
        "- CPU: growth, training step at batch 16: fx has 0.80 times the speed of PyTorch eager, "
        "channels-last."
    )
    raced = {
        loader.TORCH: {"median": 1.0},
        loader.HOST_TWO: {"median": 5.0},
        "grain, by batch, 2 workers": {"median": 10.0},
        "grain, by image": {"skipped": "no"},
    }
    (line,) = lines_of("loader-cpu", {"contenders": raced})  # fmt: skip
    assert line.endswith(
        "fx host, 2 workers has 0.50 times the speed of grain, by batch, 2 workers."
    )


def test_a_pipeline_that_holds_more_is_said():
    held = {pipeline.STRONGEST: {"host_growth_bytes": 2**20}, pipeline.FX: {
        "host_growth_bytes": 2**21, "ratios": {}}}  # fmt: skip
    report = {"settings": {"precision": "float32"}, "contenders": held}
    (line,) = lines_of("pipeline-cpu-float32", report)
    assert line.endswith("fx holds 2 MB, PyTorch, the strongest program 1 MB.")


def test_a_bar_is_met_missed_or_not_run():
    text = "\n".join(verdict.bars({"train_step-cpu-convnet-128-float32": entry(CHANNELS_LAST=0.5)}))
    assert "| at most 1.50 | 2.00 | **missed** |" in text
    assert "| at least 1.10 | not run |  |" in text
    text = "\n".join(
        verdict.bars({"train_step-gpu-convnet-512-bf16": entry(AUTOTUNE=1.1, HAND=0.9)})
    )
    assert "| at least 1.10 | 1.10 | met |" in text and "| 0.90 | **missed** |" in text


def test_what_has_not_been_run_is_listed():
    lines = "\n".join(publish._missing({}))
    assert "No GPU was at hand" in lines and "`train_step-convnet-512-bf16`" in lines
    assert "`loop-cpu`" in lines
    some = dict.fromkeys(publish.CPU_RESULTS, {})
    some |= {gpu.result(stage, "gpu").stem: {} for stage in gpu.STAGES[1:]}
    lines = "\n".join(publish._missing(some))
    assert "No GPU was at hand" not in lines and lines.count("`peaks`") == 1
    assert publish._missing(some | {"peaks-gpu": {}}) == []


def test_figures_have_three_digits():
    assert [number(x) for x in (0.1234, 12.34, 123.4, 12345.6, None)] == [
        "0.12", "12.3", "123", "12,346", "",
    ]  # fmt: skip
