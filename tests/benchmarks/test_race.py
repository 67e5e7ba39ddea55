import sys
import time

import pytest

from benchmarks.shared import race, report, stages
from benchmarks.shared.race import Job, Race
from benchmarks.shared.stages import Stage


def job(**options):
    return Job("tests.benchmarks.contenders:Counter", options, "cpu", flags=False)


def turn(name, runner):
    done, seconds = runner.ask("run", 3)
    return done | {"seconds": seconds}


def test_contenders_take_turns_and_one_that_fails_says_why():
    jobs = {
        "a": job(), "cannot start": job(fail="start"), "b": job(step=2),
        "cannot run": job(fail="run"), "dies": job(fail="die"),
    }  # fmt: skip
    order = []
    with Race(jobs, 60) as contest:
        contest.start(lambda name, runner: {"first_s": 1.0})
        contest.rounds(2, lambda name, runner: order.append(name) or turn(name, runner))
        found = contest.finish()
    assert [row["count"] for row in found["b"]["rounds"]] == [6, 6]
    assert found["a"]["settings"] == {"kind": "counter"} and found["a"]["first_s"] == 1.0
    assert found["a"]["host_growth_bytes"] is not None and found["a"]["device_peak_bytes"] is None
    assert found["cannot start"] == {"skipped": "RuntimeError: it cannot start"}
    assert found["cannot run"] == {"skipped": "ValueError: it cannot run"}
    assert found["dies"] == {"skipped": "the process died"}
    assert order[:4] == ["a", "b", "cannot run", "dies"] and order[4:] == ["b", "a"]


def test_who_has_no_time_left_is_left_out_and_a_late_answer_too():
    with Race({"late": job()}, 60, budget_s=0.0) as contest:
        contest.start(lambda *_: {})
        assert contest.finish() == {"late": {"skipped": "no time was left to start it"}}
    with pytest.raises(race.Skipped, match="no answer within 0.001 s"):
        race.Runner(job(), 0.001)


def test_a_ratio_is_the_median_of_the_rounds():
    def entry(*speeds):
        return {"rounds": [{"count": speed, "seconds": 1.0} for speed in speeds]}

    found = {
        "peer": entry(100.0, 50.0, 200.0), "fx": entry(200.0, 150.0, 300.0),
        "no": {"skipped": "why"},
    }  # fmt: skip
    race.summarise(found, ("peer", "no"))
    assert found["fx"]["median"] == 200.0 and found["fx"]["low"] == 150.0
    assert found["fx"]["ratios"] == {"peer": 2.0}  # of 2, 3 and 1.5
    lines = report.race_table(found, "images/s").splitlines()
    assert lines[2].split() == ["fx", "0.00", "200", "150", "300", "2.00"]
    assert lines[3] == "no: skipped, why"
    assert len({len(line) for line in lines[:3]}) == 1


def test_races_with_processes_of_their_own_are_told_as_one():
    first = {"a": {"first_s": 9.0, "rounds": [{"count": 1}]}, "b": {"rounds": [{"count": 2}]}}
    second = {"a": {"first_s": 1.0, "rounds": [{"count": 3}]}, "b": {"skipped": "why"}}
    answers, given = [first, second], []
    whole = race.several(lambda budget_s: given.append(budget_s) or answers.pop(0), 2, 60.0)
    assert whole["a"] == {"first_s": 9.0, "rounds": [{"count": 1}, {"count": 3}]}
    assert whole["b"] == {"skipped": "why"}
    assert first["a"]["rounds"] == [{"count": 1}] and given == [60.0, None]


def test_a_start_that_would_not_fit_is_left_out(capsys):
    found = {"a": {"rounds": [{"count": 1}]}}
    assert race.several(lambda budget_s: time.sleep(0.02) or found, 3, 0.03) == found
    assert "no time was left for 2 more starts" in capsys.readouterr().err


def test_on_a_machine_with_a_gpu_who_runs_on_the_cpu_is_not_timed(monkeypatch):
    monkeypatch.setattr(race, "has_gpu", lambda: True)
    with Race({"auto": Job(job().maker, flags=False), "cpu": job()}, 60) as contest:
        contest.start(lambda *_: {})
        found = contest.finish()
    assert found["auto"] == {"skipped": "it runs on the CPU: install its build for CUDA"}
    assert "skipped" not in found["cpu"]


def test_a_command_is_told_without_where_its_file_went():
    given = ["--rounds", "3", "--out", "/tmp/x.json", "--only", "fx, un-jitted", "--budget-s", "9"]
    expected = "python -m benchmarks.loop --rounds 3 --only 'fx, un-jitted'"
    assert report.command("loop", given) == expected
    given = ["--reference", "/tmp/some/cifar10-airbench", "--runs", "3"]
    expected = "python -m benchmarks.recipe --reference cifar10-airbench --runs 3"
    assert report.command("recipe", given) == expected


def test_an_unknown_contender_ends_the_program():
    with pytest.raises(SystemExit, match="expected some of .'a'., got .'b'."):
        report.chosen({"a": 1}, ["b"])
    assert report.chosen({"a": 1, "b": 2}, ["b"]) == {"b": 2}


def test_stages_go_on_after_one_that_fails(capfd, monkeypatch):
    def process(command, **options):
        command = [sys.executable, "-c", f"import sys; sys.exit({command[3]})"]
        return popen(command, **options)

    popen = stages.subprocess.Popen
    monkeypatch.setattr(stages.subprocess, "Popen", process)
    both = [Stage("bad", ("x", "3"), 30), Stage("good", ("y", "0"), 30)]
    assert stages.run_all(both) == {"bad": "exit code 3"}
    assert "bad failed: exit code 3" in capfd.readouterr().err
    assert stages.run_all(both, within_s=0) == dict.fromkeys(("bad", "good"), "no time was left")


def test_a_stage_is_ended_with_all_that_it_started(monkeypatch):
    popen = stages.subprocess.Popen
    slow = "import time; time.sleep(60)"
    monkeypatch.setattr(
        stages.subprocess, "Popen", lambda c, **o: popen([sys.executable, "-c", slow], **o)
    )
    assert stages.run(Stage("slow", ("x",), 30), 0.2) == "not done within 0 s"
