import hashlib
import json
import math
import os
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fx
from fx import checkpoint
from tests.train.tiny_run import Net, assert_same_bits

TINY = fx.train.TrainState(jnp.int32(0), {}, {}, (), jnp.zeros(1))


def state(step=0, seed=0, optimizer=None):
    optimizer = optimizer or fx.optim.adam(fx.optim.step_lr(0.1, 5))
    ts = fx.train.create(Net(), optimizer, jax.random.key(seed))
    return ts.replace(step=jnp.int32(step))


def odd(step=0, scale=1):
    """Every kind of leaf that a training state may hold."""
    params = {
        "10": [jnp.arange(3, dtype=jnp.bfloat16) * scale, (jnp.full((2, 2), 0.1, jnp.float16),)],
        "2": {"a.b": jnp.ones((), jnp.int8), "empty": jnp.zeros((0, 3)), "none": None},
        "keys": jax.random.split(jax.random.key(scale), 2),
        "rbg": jax.random.key(scale, impl="rbg"),
        "flags": jnp.array([True, False]),
    }
    return state(step).replace(params=params, opt_state=())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def chunk(run, step):
    """The largest file of a step: where orbax keeps the arrays."""
    return max(
        (p for p in (run / "checkpoints" / str(step)).rglob("*") if p.is_file() and "d/" in str(p)),
        key=lambda p: p.stat().st_size,
    )


def restore(run, **kwargs):
    notes = []
    ts, loop_state = checkpoint.restore(run, like=state(seed=9), notify=notes.append, **kwargs)
    return ts, loop_state, notes


@pytest.mark.parametrize("make", [state, odd])
def test_everything_comes_back_to_the_bit(tmp_path, make):
    ts = make(step=7)
    path = checkpoint.save(tmp_path, ts, {"epoch": 3})
    assert path == tmp_path / "checkpoints" / "7"
    back, loop_state = checkpoint.restore(tmp_path, like=jax.eval_shape(make))
    assert_same_bits(back, ts)
    assert jax.tree.structure(back) == jax.tree.structure(ts)
    assert loop_state == {"epoch": 3}
    assert checkpoint.verify(path) == []
    assert checkpoint.steps(tmp_path) == [7]


numbers = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.text(), st.booleans(), st.none())
loops = st.dictionaries(
    st.text(),
    st.recursive(
        numbers, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(), s), max_leaves=8
    ),
    max_size=4,
)


def same(a, b):
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    if isinstance(a, float):
        return type(b) is float and a == b and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(loops)
def test_any_loop_state_comes_back(tmp_path, loop_state):
    ts = TINY
    checkpoint.save(tmp_path, ts, loop_state, keep=1)
    assert same(checkpoint.restore(tmp_path, like=ts)[1], loop_state)


@pytest.mark.parametrize(
    "loop_state, text",
    [
        ({"a": [1, {"b": np.float32(1)}]}, r"loop_state\['a'\]\[1\]\['b'\]: .* got float32"),
        ({"a": (1, 2)}, r"loop_state\['a'\]: expected dict, list, .* got tuple; JSON would lose"),
        ({1: 2}, r"loop_state: expected text as keys, got 1; use str\(1\)"),
    ],
)
def test_what_json_would_change_is_refused(tmp_path, loop_state, text):
    with pytest.raises(TypeError, match=text):
        checkpoint.save(tmp_path, TINY, loop_state)
    assert not (tmp_path / "checkpoints").exists()


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    for step, best in [(1, True), (2, True), (3, False), (4, False), (5, False)]:
        checkpoint.save(tmp_path, TINY.replace(step=jnp.int32(step)), {"at": step}, best=best)
    assert checkpoint.steps(tmp_path) == [2, 4, 5]
    assert checkpoint.restore(tmp_path, like=TINY)[1] == {"at": 5}
    assert checkpoint.restore(tmp_path, like=TINY, which="best")[1] == {"at": 2}
    checkpoint.save(tmp_path, TINY.replace(step=jnp.int32(6)), {"at": 6}, best=True, keep=1)
    assert checkpoint.steps(tmp_path) == [6]
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"6"}


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoint.save(tmp_path, TINY, {"at": "first"}, best=True)
    checkpoint.save(tmp_path, TINY, {"at": "second"})
    assert checkpoint.restore(tmp_path, like=TINY)[1] == {"at": "second"}
    assert checkpoint.steps(tmp_path) == [0]
    with pytest.raises(FileNotFoundError, match="no best checkpoint in"):
        checkpoint.restore(tmp_path, like=TINY, which="best")


def damage_flip(run):
    flip(chunk(run, 2))


def damage_truncate(run):
    path = chunk(run, 2)
    path.write_bytes(path.read_bytes()[:-5])


def damage_remove(run):
    chunk(run, 2).unlink()


def damage_loop(run):
    path = run / "checkpoints/2/loop.json"
    path.write_text(path.read_text().replace("2", "3"))


def damage_manifest(run):
    path = run / "checkpoints/2/manifest.json"
    path.write_text(path.read_text().replace("float32", "float16"))


def damage_manifest_json(run):
    path = run / "checkpoints/2/manifest.json"
    path.write_text(path.read_text()[:40])


def damage_manifest_gone(run):
    (run / "checkpoints/2/manifest.json").unlink()


DAMAGES = {
    damage_flip: "was changed",
    damage_truncate: r"has \d+ bytes instead of \d+",
    damage_remove: "is missing",
    damage_loop: "loop.json was changed",
    damage_manifest: "manifest.json cannot be used .*own hash",
    damage_manifest_json: "manifest.json cannot be used .JSONDecodeError",
    damage_manifest_gone: "manifest.json cannot be used .FileNotFoundError",
}


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    for step in (1, 2):
        checkpoint.save(run, state(step, seed=step), {"at": step}, best=True)
    return run


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_damaged_step_is_passed_over_and_said_so(two_steps, tmp_path, damage):
    run = tmp_path / "run"
    shutil.copytree(two_steps, run)
    # Both steps were the best in their time; one best is kept beside the last two, so both are.
    damage(run)
    for which in ("latest", "best"):
        ts, loop_state, notes = restore(run, which=which)
        assert loop_state == {"at": 1}
        assert_same_bits(ts, state(1, seed=1))
        assert len(notes) == 1
        assert "checkpoints/2 is damaged" in notes[0] and notes[0].endswith("Using step 1 instead.")
        assert re.search(DAMAGES[damage], notes[0])


def test_every_file_is_covered_by_a_hash(two_steps, tmp_path):
    files = [p for p in (two_steps / "checkpoints/2").rglob("*") if p.is_file()]
    assert len(files) > 5
    for file in files:
        if file.stat().st_size:
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(two_steps / "checkpoints/2", copy)
            flip(copy / file.relative_to(two_steps / "checkpoints/2"))
            assert checkpoint.verify(copy), file


def test_nothing_sound_is_an_error_that_lists_every_fault(two_steps, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(two_steps, run)
    flip(chunk(run, 1))
    flip(chunk(run, 2))
    text = r"no sound checkpoint is left\. .*checkpoints/2 is damaged: .*checkpoints/1 is damaged: "
    with pytest.raises(ValueError, match=text):
        restore(run)
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        restore(tmp_path / "elsewhere")


def test_where_the_best_is_damaged_the_others_are_named(tmp_path):
    """Those that a run held beside it are read by their numbers."""
    for step in (1, 2):
        checkpoint.save(tmp_path, state(step), {"at": step}, best=step == 1)
    flip(chunk(tmp_path, 1))
    text = r"is left of the best\. .*checkpoints/1 is damaged.*; there are \[1, 2\], to be read"
    with pytest.raises(ValueError, match=text):
        restore(tmp_path, which="best")
    assert restore(tmp_path, which=2)[1] == {"at": 2}


@pytest.mark.parametrize("hold", [5, ["1"], [1.5]])
def test_what_is_held_are_steps(hold, tmp_path):
    with pytest.raises(TypeError, match="checkpoint.save: expected hold as steps, integers, got"):
        checkpoint.save(tmp_path, state(1), {}, hold=hold)


def test_steps_that_are_held_stay(tmp_path):
    for step in range(1, 6):
        checkpoint.save(tmp_path, state(step), {}, keep=1, hold=iter([2, 3]))
    assert checkpoint.steps(tmp_path) == [2, 3, 5]


def test_a_run_that_goes_on_from_before_the_damage_keeps_what_it_writes(two_steps, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(two_steps, run)
    checkpoint.save(run, state(9), {"at": 9}, keep=3)
    flip(chunk(run, 9))
    flip(chunk(run, 2))
    assert restore(run)[1] == {"at": 1}
    checkpoint.save(run, state(3, seed=3), {"at": 3}, keep=1)
    assert restore(run)[1:] == ({"at": 3}, [])
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"1", "3", "9.damaged"}
    assert restore(run, which="best")[1] == {"at": 1}


def test_half_written_and_half_removed_steps_are_not_seen(two_steps, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(two_steps, run)
    folder = run / "checkpoints"
    shutil.copytree(folder / "2", folder / "8.tmp")
    shutil.copytree(folder / "2", folder / "7.deleted")
    (folder / "notes").mkdir()
    (folder / "12").write_text("a file")
    assert checkpoint.steps(run) == [1, 2]
    assert restore(run)[1:] == ({"at": 2}, [])
    (folder / "12").unlink()
    checkpoint.save(run, state(3), {"at": 3})
    assert {p.name for p in folder.iterdir()} == {"2", "3", "notes"}


def test_death_between_the_renames_of_a_replacement_loses_nothing(two_steps, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(two_steps, run)
    folder = run / "checkpoints"
    shutil.rmtree(folder / "1")
    (folder / "2").rename(folder / "2.old")
    assert checkpoint.steps(run) == [2]
    assert restore(run)[1:] == ({"at": 2}, [])
    checkpoint.save(run, state(2), {"at": "again"})
    assert {p.name for p in folder.iterdir()} == {"2"}


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="expected keep of 1 or more, got 0"):
        checkpoint.save(tmp_path, TINY, {}, keep=0)
    with pytest.raises(ValueError, match="or a step's number, got 'last'"):
        checkpoint.restore(tmp_path, like=TINY, which="last")
    with pytest.raises(TypeError, match="or a step's number, got float"):
        checkpoint.restore(tmp_path, like=TINY, which=1.0)
    clash = TINY.replace(params={"a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}})
    with pytest.raises(ValueError, match="two arrays have the same name"):
        checkpoint.save(tmp_path, clash, {})


def test_a_donated_state_is_refused(tmp_path):
    ts = TINY.replace(params={"w": jnp.ones(2)})
    ts.params["w"].delete()
    with pytest.raises(ValueError, match="params/w went into a later step, .* donate=False"):
        checkpoint.save(tmp_path, ts, {})
    assert not (tmp_path / "checkpoints").exists()


def rewrite_manifest(path, drop=(), **changes):
    """As another version would have written it: with a hash that holds."""
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    manifest = {name: value for name, value in manifest.items() if name not in (*drop, "sha256")}
    text = json.dumps(manifest, sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(text).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_checkpoint_of_a_later_format_is_refused_and_kept(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, state(step), {"at": step})
    manifest = json.loads((tmp_path / "checkpoints/2/manifest.json").read_text())
    assert (manifest["format"], manifest["fx"]) == (2, fx.__version__)
    rewrite_manifest(tmp_path / "checkpoints/2", format=99, fx="7.1")
    text = (
        r"checkpoints/2: format 99, written by fx 7\.1; fx .* reads formats up to 2; read it with"
    )
    for which in ("latest", "best", 2):
        with pytest.raises(ValueError, match=text):
            restore(tmp_path, which=which)
    assert restore(tmp_path, which=1)[1:] == ({"at": 1}, [])
    for step in (1, 3, 4, 5):  # neither as a damaged later one nor as one of the old ones
        checkpoint.save(tmp_path, state(step), {}, keep=1)
        assert 2 in checkpoint.steps(tmp_path)


def test_a_checkpoint_of_the_first_format_is_read(tmp_path):
    path = checkpoint.save(tmp_path, state(1), {"at": 1})
    rewrite_manifest(path, drop=("fx", "optimizer"), format=1)
    assert checkpoint.verify(path) == []
    assert restore(tmp_path)[1:] == ({"at": 1}, [])
    with pytest.raises(ValueError, match="made by another model or optimizer"):
        checkpoint.restore(tmp_path, like=state(optimizer=fx.optim.sgd(0.1)))


def test_a_step_of_ones_own_choice(two_steps, tmp_path):
    for which in (1, np.int64(2)):
        ts, loop_state, notes = restore(two_steps, which=which)
        assert loop_state == {"at": int(which)} and notes == []
        assert_same_bits(ts, state(int(which), seed=int(which)))
    with pytest.raises(
        FileNotFoundError, match=r"no checkpoint of step 3 in .*; there are \[1, 2\]"
    ):
        restore(two_steps, which=3)
    run = tmp_path / "run"
    shutil.copytree(two_steps, run)
    flip(chunk(run, 2))
    with pytest.raises(ValueError, match=r"checkpoints/2 is damaged: .*; there are \[1, 2\]"):
        restore(run, which=2)


def test_a_relative_run_folder_works(tmp_path):
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        checkpoint.save("run", TINY, {"at": 0})
        assert checkpoint.restore("run", like=TINY)[1] == {"at": 0}
    finally:
        os.chdir(before)
    assert (tmp_path / "run/checkpoints/0/manifest.json").exists()
