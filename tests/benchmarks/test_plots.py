"""Pictures are drawn whatever is missing."""

from PIL import Image

from benchmarks import inference, pipeline
from benchmarks.page import plots, sections


def bar(middle):
    return {"median": middle, "low": middle * 0.9, "high": middle * 1.2, "ratios": {}}


RESULTS = {
    "inference-cpu": {"batches": {"1": {inference.FX: bar(9.0), "onnxruntime": {"skipped": "no"}}}},
    "pipeline-gpu-bf16": {
        "settings": {"precision": "bf16"},
        "contenders": {pipeline.FX: bar(5.0), pipeline.USUAL: {"skipped": "no"}},
    },
    "growth-cpu": {
        "parts": {
            "batch": {"fx": {"16": bar(1.0), "64": bar(2.0)}, "other": {"16": {}, "64": {}}},
            "seeds": {"together": {"1": bar(1.0)}, "one by one": {"1": {"skipped": "no"}}},
        }
    },
}


def test_what_did_not_run_is_left_out(tmp_path):
    made = plots.draw(RESULTS, tmp_path)
    assert set(made) == {("inference", "cpu"), ("pipeline", "gpu"), ("growth", "cpu")}
    for name in made.values():
        with Image.open(tmp_path / name) as picture:
            assert len(picture.info["Description"]) == 64


def test_shares_are_of_the_machines_peaks():
    entry = {"count_per_step": 10, "flops_per_step": 50, "settings": {"precision": "float32"}}
    found = {"median": 20.0, "bytes_per_step": 30}
    peaks = {"float32 flops/s": 200, "copy bytes/s": 120}
    assert sections.shares(entry, found, peaks) == ["50.0", "50.0"]
    assert sections.shares(entry, {"median": 20.0}, {}) == ["", ""]
