"""Threads that read ahead: order, errors, a time limit, an end."""

import gc
import itertools
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fx.data import Dataset, Examples, Loader, ReadError
from fx.data.reading import read_ahead


def reading():
    return [t for t in threading.enumerate() if t.name.startswith("fx-loader")]


def square(task, note):
    time.sleep(0.002 * (task % 3))
    return task * task


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 0), (1, 3), (4, 0), (4, 8)])
def test_results_come_in_the_plans_order(workers, prefetch):
    found = list(read_ahead(range(20), square, workers=workers, prefetch=prefetch))
    assert found == [n * n for n in range(20)]
    assert not reading()


def test_workers_work_at_the_same_time():
    together = threading.Barrier(3, timeout=5)
    found = read_ahead(range(6), lambda task, note: together.wait() and 1, workers=3, prefetch=0)
    assert len(list(found)) == 6  # two at a time would break the barrier


def test_closing_ends_the_threads_and_the_plan():
    closed = []

    def plan():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    results = read_ahead(plan(), square, workers=3)
    next(results)
    assert len(reading()) == 3
    results.close()
    assert not reading() and closed == [True]


def test_an_exception_in_the_consumer_ends_the_threads():
    with pytest.raises(KeyboardInterrupt):
        for _ in read_ahead(itertools.count(), square, workers=2):
            raise KeyboardInterrupt
    gc.collect()
    assert not reading()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_worker_that_dies_is_an_error(kind):
    def die(task, note):
        note.doing = f"reading number {task}"
        if task == 3:
            raise kind("out of luck")
        return task

    results = read_ahead(range(9), die, workers=2, where="Here")
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    text = f"Here: reading number 3 failed with {kind.__name__}: out of luck"
    with pytest.raises(ReadError, match=text) as caught:
        next(results)
    assert isinstance(caught.value.__cause__, kind)
    assert not reading()


def test_a_stuck_worker_is_an_error_that_says_where():
    release = threading.Event()

    class Data:
        def __len__(self):
            return 8

        def __getitem__(self, row):
            if row == 5:
                release.wait()  # the line that is named
            return np.float32(row), row

    batches = Loader(Examples(Data()), 2, shuffle=False, timeout_s=0.3, workers=2).epoch(0)
    next(batches)
    next(batches)
    started = time.monotonic()
    text = (
        r"Loader: a worker showed no sign of life for 0\.3 s; it is still reading sample 5, in .*; "
        r"look there, or, where that may take longer, raise timeout_s=0\.3 \(None waits for ever\)"
    )
    with pytest.raises(TimeoutError, match=text):
        list(batches)
    assert time.monotonic() - started < 3
    release.set()
    deadline = time.monotonic() + 5
    while reading() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not reading()  # what was stuck ends too, once it can


def test_a_stuck_worker_is_found_within_seconds_unless_told_otherwise():
    assert Loader(Dataset(np.ones(3), np.ones(3)), 1).timeout_s == 10


def test_a_slow_worker_that_gets_on_is_waited_for():
    def slow(example):
        time.sleep(0.1)
        return example

    data = Dataset(np.arange(16.0, dtype=np.float32), np.arange(16))
    batches = Loader(data, 16, shuffle=False, transform=slow, timeout_s=0.8).epoch(0)
    assert len(next(batches)[1]) == 16  # after 1.6 s


def test_what_opens_has_longer():
    def open_slowly(task, note):
        note.doing, note.patience = "opening", task
        time.sleep(0.6)
        return task

    assert list(read_ahead([6], open_slowly, timeout_s=0.3)) == [6]
    text = r"Here: a worker showed no sign of life for 0\.3 s; it is still opening"
    with pytest.raises(TimeoutError, match=text):
        list(read_ahead([1], open_slowly, timeout_s=0.3, where="Here"))


@pytest.mark.slow
def test_time_in_which_the_whole_program_stood_still_does_not_count():
    code = (
        "import time, numpy as np\n"
        "from fx.data import Examples, Loader\n"
        "class Data:\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, row):\n"
        "        print('in', row, flush=True)\n"
        "        time.sleep(0.8 if row else 0)\n"
        "        return np.float32(row), row\n"
        "print(next(Loader(Examples(Data()), 2, shuffle=False, timeout_s=1.5).epoch(0))[1])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "in 0\n" and run.stdout.readline() == "in 1\n"
        run.send_signal(signal.SIGSTOP)
        time.sleep(2)
        run.send_signal(signal.SIGCONT)
        assert run.stdout.read() == "[0 1]\n"


def test_a_stuck_worker_does_not_keep_the_program_from_ending():
    code = (
        "import time, numpy as np\n"
        "from fx.data import Examples, Loader\n"
        "class Data:\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, row): time.sleep(1e6)\n"
        "next(Loader(Examples(Data()), 2, timeout_s=0.2).epoch(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "TimeoutError: Loader: a worker showed no sign of life for 0.2 s" in done.stderr


def test_an_iterator_left_open_does_not_disturb_the_end_of_the_program():
    code = (
        "import numpy as np\n"
        "from fx.data import Dataset, Loader\n"
        "data = Dataset(np.zeros((4096, 512), np.float32), np.zeros(4096, np.int32))\n"
        "batches = Loader(data, 64, workers=2, prefetch=8).epoch(0)\n"
        "next(batches)\n"
        "print('end')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_wrong_time_limit():
    with pytest.raises(ValueError, match="Loader: expected timeout_s above 0, or None, got 0"):
        Loader(Dataset(np.ones(3), np.ones(3)), 1, timeout_s=0)
    with pytest.raises(ValueError, match="Loader: expected workers of 1 or more, got 0"):
        Loader(Dataset(np.ones(3), np.ones(3)), 1, workers=0)
