"""Claims: what runs where, and what is made of rounds."""

import importlib
import json
import shlex

import numpy as np
import pytest

import benchmarks.__main__ as driver
from benchmarks import gpu, inference, layers, loader, pipeline, publish, step_options, train_step
from benchmarks.page import own, sections, verdict
from benchmarks.shared import race, report, stages


def test_what_runs_depends_on_the_device():
    options = train_step.arguments(["--device", "cpu"])
    assert options.steps == 8 and options.out.name == "train_step-cpu-convnet-128-float32.json"
    names = list(train_step.contenders(options))
    assert train_step.AUTOTUNE not in names
    cut = [train_step.LINEN, train_step.NNX, train_step.OWN_FLAGS, train_step.UNJITTED]
    assert names[-4:] == cut  # what is un-jitted is the first to find no time
    options.device_kind, options.steps_per_call = "gpu", 50
    names = list(train_step.contenders(options))
    assert train_step.AUTOTUNE in names
    assert names[-4:-1] == ["fx, 50 steps a call", train_step.LINEN, train_step.NNX]
    assert names[-1] == train_step.UNJITTED
    options.network, options.precision = "gpt2", "bf16"
    names = list(train_step.contenders(options))
    assert train_step.CUDNN in names and train_step.CHANNELS_LAST not in names


def test_latencies_are_over_all_calls_and_throughput_by_round():
    def row(batch, *latencies):
        times = {"seconds": sum(latencies), "latencies_s": list(latencies)}
        return {"batch": batch, "count": 2, **times}

    rounds = [row(1, 0.001, 0.003), row(1, 0.002, 0.004), row(32, 0.1, 0.2)]
    found = {inference.FX: {"rounds": rounds, "first_call_s": {"1": 0.5}}, "x": {"skipped": "why"}}
    chosen = inference.by_batch(found, "1")
    assert chosen["x"] == {"skipped": "why"}
    entry = chosen[inference.FX]
    assert entry["p50_ms"] == pytest.approx(2.5) and entry["first_s"] == 0.5
    assert entry["calls"] == 4 and entry["median"] == pytest.approx((500 + 1000 / 3) / 2)
    assert inference.table(chosen).splitlines()[1].split()[-3:-1] == ["2.50", "3.97"]
    options = inference.arguments(["--calls", "100"])
    assert [inference.calls(options, batch) for batch in (1, 8, 32, 1024)] == [100, 100, 25, 3]
    assert [inference.rounds(options, batch) for batch in (1, 64, 1024)] == [30, 30, 5]


def test_an_options_cost_is_taken_within_a_round():
    found = {step_options.PLAIN: {"values": [1.0, 2.0, 4.0]}, "remat": {"values": [1.5, 2.0, 5.0]}}
    entry = step_options.summarise(found)["remat"]
    assert (entry["median"], entry["cost"]) == (2.0, 0.25)
    assert (entry["cost_low"], entry["cost_high"]) == (0.0, 0.5)


def test_a_loaders_peer_is_the_one_that_does_the_same():
    def entry(*speeds):
        return {"rounds": [{"count": speed, "seconds": 1.0} for speed in speeds], "first_s": 1.5}

    found = {
        loader.TORCH: entry(100.0, 50.0, 200.0), "fx host": entry(500.0, 400.0, 1400.0),
        loader.TORCH_FLOAT: entry(10.0, 10.0, 10.0),
        "fx compiled, data on the host": entry(90.0, 80.0, 100.0),
        "grain, by image": {"skipped": "ImportError"},
    }  # fmt: skip
    loader.summarise(found)
    assert found["fx host"]["ratio_to_peer"] == 7.0  # of 5, 8 and 7
    assert found["fx compiled, data on the host"]["ratio_to_peer"] == 9.0
    lines = loader.table(found).splitlines()
    assert lines[2].split() == ["fx", "host", "500", "400", "1,400", "7.0", "1.5"]
    assert lines[-1] == "grain, by image: skipped, ImportError"


def test_minutes_are_those_of_a_hundred_epochs():
    assert pipeline.EPOCHS * pipeline.CIFAR / 1000 / 60 == pytest.approx(83.3, abs=0.1)


def test_a_pipeline_that_learns_otherwise_is_left_out():
    found = {
        pipeline.USUAL: {"rounds": [{"loss": 2.0}, {"loss": 1.8}]},
        pipeline.STRONGEST: {"skipped": "no compiler"},
        pipeline.FX: {"rounds": [{"loss": 2.01}, {"loss": 1.6}]},
    }
    pipeline.check_losses(found)
    assert found[pipeline.FX] == {"skipped": "not the same mathematics: losses 11% apart"}
    assert found[pipeline.USUAL]["losses_apart"] == 0


def test_layers_are_beside_the_faster_of_pytorchs_orders():
    def rows(*times):
        return {"rounds": [{"Linear": {"forward": t, "gradient": 2 * t}} for t in times]}

    found = {
        layers.EAGER: rows(0.001, 0.002, 0.009),
        layers.CHANNELS_LAST: rows(0.004, 0.004, 0.004),
        layers.FX: rows(0.003, 0.001, 0.003),
    }
    layers.summarise(found)
    assert layers.ratios(found)["Linear"] == pytest.approx({"forward": 1.5, "gradient": 1.5})
    assert "3.00" in layers.table(found) and "1.50" in layers.table(found)
    entry = {"contenders": found, "claim": "layers"}
    (forward, _) = verdict.losses({"layers-cpu": entry})
    assert "in 1 of 1; most, in times its time: Linear 1.50." in forward
    del found[layers.FX]["layers"]
    assert layers.ratios(found) == {}


def test_a_layer_that_computes_something_else_is_not_timed():
    wanted = {"Linear": [np.array([1.0, -2.0]), np.zeros(1)]}
    layers.check(wanted, wanted)
    with pytest.raises(race.Skipped, match="Linear is 5e-01 apart"):
        layers.check({"Linear": [np.array([1.0, -1.0]), np.zeros(1)]}, wanted)
    with pytest.raises(race.Skipped, match="Linear is nan apart"):
        layers.check({"Linear": [np.array([1.0, np.nan]), np.zeros(1)]}, wanted)


def test_every_gpu_stage_is_under_nine_minutes_and_leaves_the_result_that_it_is_known_by(
    monkeypatch,
):
    monkeypatch.setattr(report, "device_kind", lambda device: "gpu")
    assert len({stage.name for stage in gpu.STAGES}) == len(gpu.STAGES)
    for stage in gpu.STAGES:
        assert stage.limit_s < 540
        claim = importlib.import_module(f"benchmarks.{stage.claim}")
        assert claim.arguments(list(stage.arguments[1:])).out == gpu.result(stage, "gpu"), stage


def test_the_page_expects_what_make_bench_leaves():
    left = []
    for stage in [*driver.STAGES, *driver.MORE]:
        claim = importlib.import_module(f"benchmarks.{stage.claim}")
        left.append(claim.arguments(list(stage.arguments[1:])).out.stem)
    assert tuple(left) == publish.CPU_RESULTS


def test_without_a_gpu_the_driver_says_so(monkeypatch):
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    with pytest.raises(SystemExit, match="expected a GPU, found no nvidia-smi"):
        gpu.main([])
    with pytest.raises(SystemExit, match="expected some of .* got .'nothing'."):
        gpu.main(["--stage", "nothing"])


def test_a_stage_that_has_a_result_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu.publish, "main", lambda given: None)
    ran = []
    monkeypatch.setattr(gpu, "run_all", lambda stages, **_: ran.extend(stages) or {})
    (tmp_path / "peaks-gpu.json").write_text('{"machine": {}}')
    assert gpu.main(["--stage", "peaks", "loop"]) == 0
    assert [stage.name for stage in ran] == ["loop"]
    assert "peaks: done already" in capsys.readouterr().out


def test_the_driver_names_what_failed(monkeypatch, capsys):
    monkeypatch.setattr(driver.publish, "main", lambda given: None)
    monkeypatch.setattr(driver, "run_all", lambda stages, **_: {stages[0].name: "exit code 3"})
    assert driver.main(["--only", "loop", "train_step"]) == 1
    assert "train_step failed: exit code 3" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="got .'nothing'."):
        driver.main(["--only", "loop", "nothing"])


WRITERS = {
    "peaks": own.machine_peaks, "train_step": sections.training,
    "pipeline": sections.pipeline, "loader": sections.loading, "cold_start": sections.cold,
    "seeds": sections.many_seeds, "inference": sections.answers, "loop": own.looping,
    "growth": sections.growing, "depth": sections.growing, "speedrun": sections.records,
    "checkpoint": own.checkpoints, "step_options": own.step_options, "layers": own.layers,
    "ported": own.ported,
}  # fmt: skip


ON_GPU = [s for s in gpu.STAGES if s.name in ("train_step-gpt2-8-bf16", "train_step-vit-128-bf16")]


@pytest.mark.slow
@pytest.mark.timeout(700)  # nine contenders start one by one
@pytest.mark.parametrize(
    "stage", [*driver.STAGES, *driver.MORE, *ON_GPU], ids=lambda stage: stage.name
)
def test_every_claim_runs_at_a_tiny_size_and_can_be_shown(stage, tmp_path, monkeypatch):
    out = tmp_path / "report.json"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other on busy machines
    extra = ("--tiny", "--rounds", "1", "--out", str(out))
    assert stages.run(stage, 600, extra) is None
    entry = json.loads(out.read_text())
    assert entry["settings"]["tiny"] and entry["machine"]["load_at_start"] is not None
    assert shlex.split(entry["command"])[:3] == ["python", "-m", f"benchmarks.{stage.claim}"]
    skipped = [e["skipped"] for e in entry.get("contenders", {}).values() if "skipped" in e]
    assert not skipped
    name = stage.name.replace(stage.claim, f"{stage.claim}-cpu", 1)
    text = "\n".join(WRITERS[stage.claim]({name: entry}, "cpu"))
    assert "A tiny run: no figure is meant." in text and "| --- |" in text
