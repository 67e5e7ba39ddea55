import importlib
import importlib.util
import json
import struct
import time

import numpy as np
import pytest

import fx
from fx.train.watch.callbacks import JsonLog, TensorBoard, WandB
from fx.train.watch.event import Event
from tests.train.tiny_run import Batches, make

OFFLINE = {"mode": "offline", "project": "tests"}
needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed"
)


def event(kind="log", step=5, **values):
    return Event(kind, 2, step, values or {"loss": 0.5, "learning_rate": 1e-3}, 2.0, 1234.0, None)


def test_json_lines_keep_what_came_before(tmp_path):
    path = tmp_path / "log.jsonl"
    log = JsonLog(path)
    for step in (2, 4, 6):
        log(event(step=step, loss=float("nan")))
    log.close()
    log = JsonLog(path, after=4)
    log(event(step=5))
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines[0]["loss"] is None and "NaN" not in path.read_text()
    assert lines[-1] == {
        "kind": "log",
        "epoch": 2,
        "step": 5,
        "loss": 0.5,
        "learning_rate": 1e-3,
        "seconds": 2.0,
        "images_per_s": 1234.0,
    }


def test_json_lines_leave_out_distributions(tmp_path):
    log = JsonLog(tmp_path / "log.jsonl")
    log(event(loss=0.5, weights=np.ones(3)))
    log.close()
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert line["loss"] == 0.5 and "weights" not in line


def test_tensorboard_writes_what_happened(tmp_path):
    step, ts, validate = make()
    fx.fit(
        step, ts, Batches(), validate=validate, epochs=1, out=tmp_path, tensorboard=True,
        progress=False,
    )  # fmt: skip
    content = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
    for tag in (b"step/loss", b"step/learning_rate", b"epoch/val_accuracy", b"epoch/train_loss"):
        assert tag in content
    assert b"epoch/step" not in content


def test_tensorboard_draws_distributions(tmp_path):
    log = TensorBoard(tmp_path)
    log(event(loss=0.5, weights=np.arange(6.0).reshape(2, 3)))
    log.close()
    (path,) = tmp_path.iterdir()
    values = {v.tag: v for record in read_events(path) for v in record.summary.value}
    histogram = values["step/weights"].histo
    assert (histogram.num, histogram.min, histogram.max, histogram.sum) == (6, 0, 5, 15)
    assert values["step/loss"].simple_value == 0.5


def test_tensorboard_gets_an_events_values_as_one_record(tmp_path):
    log = TensorBoard(tmp_path)
    log(event(**{"loss": np.float32(0.5), "loss[3]": 0.25, "norm/a b": np.array(2.0)}))
    log.close()
    (path,) = tmp_path.iterdir()
    (record,) = [r for r in read_events(path) if r.HasField("summary")]
    assert {v.tag: v.simple_value for v in record.summary.value if "images" not in v.tag} == {
        "step/loss": 0.5, "step/loss[3]": 0.25, "step/norm/a b": 2.0,
    }  # fmt: skip


def read_events(path):
    parser = importlib.import_module("tensorboardX.proto.event_pb2").Event
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield parser.FromString(data[at + 12 : at + 12 + length])
        at += 12 + length + 4


@pytest.mark.parametrize(
    "listener, extra",
    [(TensorBoard, "tensorboard"), (WandB, "wandb")],
    ids=["TensorBoard", "WandB"],
)
def test_a_missing_package_names_its_extra(listener, extra, tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install '\.\[{extra}\]' in fx's folder"):
        listener(tmp_path)


def test_wandb_keeps_to_its_folder(tmp_path):
    with pytest.raises(ValueError, match="expected no 'id' among the settings"):
        WandB(tmp_path, id="mine")


@pytest.fixture
def quiet(monkeypatch, tmp_path):
    """No network, no console, no settings of the user's."""
    for name, value in {"SILENT": "true", "CONSOLE": "off", "MODE": "offline"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "user"))


@needs_wandb
def test_wandb_writes_what_happened(tmp_path, quiet):
    step, ts, validate = make()
    log = WandB(tmp_path, config={"lr": 0.05}, **OFFLINE)
    fx.fit(
        step, ts, Batches(), validate=validate, epochs=2, log_every=3, callbacks=[log],
        progress=False,
    )  # fmt: skip
    log.close()
    (rows,) = read_runs(tmp_path, log.id)
    names = ("step/loss", "step/learning_rate", "epoch/val_accuracy", "epoch/train_loss")
    assert set(names) <= set().union(*rows)
    assert "epoch/step" not in set().union(*rows)
    assert [row["step"] for row in rows if "epoch/val_loss" in row] == [6, 12]
    assert [row["step"] for row in rows if "step/loss" in row] == [3, 6, 9, 12]


@needs_wandb
def test_wandb_goes_on_with_the_same_run(tmp_path, quiet):
    """Killed after step 6's log and before its epoch, and resumed from step 4."""
    first = WandB(tmp_path, **OFFLINE)
    for step in (2, 4, 6):
        first(event(step=step, loss=1 / step))
    first.close()
    second = WandB(tmp_path, **OFFLINE)
    for step in (6, 8):
        second(event(step=step, loss=1 / step, weights=np.arange(6.0)))
        second(event("epoch", step=step, val_loss=1.0))
    second.close()
    assert second.id == first.id
    runs = read_runs(tmp_path, first.id)
    logged = [[row["step"] for row in rows if "step/loss" in row] for rows in runs]
    assert logged == [[2, 4, 6], [8]]
    assert [row["step"] for row in runs[1] if "epoch/val_loss" in row] == [6, 8]
    (histogram,) = [row for row in runs[1] if "step/weights/_type" in row]
    assert histogram["step/weights/_type"] == "histogram" and histogram["step"] == 8


def read_runs(folder, run_id):
    """The rows of each part of a run, from the files that `wandb sync` would send."""
    record_type = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    runs = []
    for path in sorted(folder.glob(f"wandb/offline-run-*/run-{run_id}.wandb"), key=by_age):
        records = []
        deadline = time.monotonic() + 30
        # A process of wandb's writes the file, and goes on for a moment after `finish`.
        while not records or records[-1].WhichOneof("record_type") != "exit":
            assert time.monotonic() < deadline, f"{path} has no end"
            time.sleep(0.01)
            records = [record_type.FromString(data) for data in read_log(path.read_bytes())]
        assert {r.run.run_id for r in records if r.WhichOneof("record_type") == "run"} == {run_id}
        rows = [r.history.item for r in records if r.WhichOneof("record_type") == "history"]
        runs.append([{name(item): json.loads(item.value_json) for item in row} for row in rows])
    return runs


def by_age(path):
    return path.stat().st_mtime_ns


def name(item):
    return item.key or "/".join(item.nested_key)


def read_log(data):
    """LevelDB's log format: blocks of 32 KiB, records in parts; a header of 7 bytes is wandb's."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""
