"""Contenders that take turns: the parent's end of the workers, rounds, medians and ratios."""

import multiprocessing
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.shared import worker
from benchmarks.shared.energy import Energy
from benchmarks.shared.worker import Job

Found = dict[str, dict[str, Any]]


def has_gpu() -> bool:
    """Judged by the driver's tool, since the parent must not start a backend."""
    return shutil.which("nvidia-smi") is not None


class Skipped(Exception):
    """A contender that cannot run here, and why."""


class Runner:
    """The parent's end of a worker."""

    def __init__(self, job: Job, timeout_s: float):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._timeout_s = timeout_s
        # Not a daemon: torch's DataLoader has children of its own.
        self._process = context.Process(target=worker.main, args=(job, theirs))
        self._process.start()
        theirs.close()
        self.hello, _ = self._answer()

    def ask(self, method: str, *arguments: Any) -> tuple[Any, float]:
        """Call a method of the contender; returns what it returned, and the seconds it took."""
        self._pipe.send((method, arguments))
        return self._answer()

    def finish(self) -> dict[str, Any]:
        """End the worker; returns the memory that it took."""
        try:
            self._pipe.send(None)
            memory, _ = self._answer()
            self._process.join(10)
            return memory
        finally:
            self.stop()

    def stop(self) -> None:
        """End the worker, whatever it does."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _answer(self) -> tuple[Any, float]:
        late = f"no answer within {self._timeout_s:g} s"
        try:
            answer = self._pipe.recv() if self._pipe.poll(self._timeout_s) else late
        except EOFError:
            answer = "the process died"
        if isinstance(answer, str):
            self.stop()
            raise Skipped(answer)
        return answer


class Race:
    """Starts contenders, gives them turns, and notes what came of it.

    Args:
        jobs: by the contenders' names.
        timeout_s: for any one answer.
        budget_s: after 0.7 of it no contender is started, and after all of it no round.

    Attributes:
        found: By contender: {"skipped": why}, or its settings, what `start` found, its "rounds"
            (a dictionary each) and its memory.
    """

    def __init__(self, jobs: dict[str, Job], timeout_s: float, budget_s: float | None = None):
        self.jobs, self.timeout_s = jobs, timeout_s
        self._begun = time.perf_counter()
        self._end = None if budget_s is None else self._begun + budget_s
        self.runners: dict[str, Runner] = {}
        self.found: Found = {}
        self.energy = Energy()

    def __enter__(self) -> "Race":
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self.runners.values():
            runner.stop()

    def start(self, first: Callable[[str, Runner], dict[str, Any]]) -> None:
        """Start each worker; `first` runs what is not timed with the rest."""
        for name, job in self.jobs.items():
            try:
                if self._late(0.7):
                    raise Skipped("no time was left to start it")
                self.runners[name] = runner = Runner(job, self.timeout_s)
                if job.device == "auto" and has_gpu() and runner.hello["device"] == "cpu":
                    raise Skipped("it runs on the CPU: install its build for CUDA")
                self.found[name] = {**runner.hello, "rounds": [], **first(name, runner)}
                print(f"{name}: ready", file=sys.stderr, flush=True)
            except Skipped as reason:
                self._drop(name, reason)

    def rounds(self, count: int, turn: Callable[[str, Runner], dict[str, Any]]) -> None:
        """Give turns; the order moves on by one from round to round."""
        names = list(self.found)
        for number in range(count):
            if number and self._late():
                print(f"no time was left for {count - number} rounds", file=sys.stderr)
                break
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                if name in self.runners:
                    self._turn(name, turn)

    def finish(self, last: Callable[[str, Runner], dict[str, Any]] = lambda *_: {}) -> Found:
        """End the workers; returns all that was found."""
        for name, runner in list(self.runners.items()):
            try:
                self.found[name] |= last(name, runner)
                self.found[name] |= runner.finish()
            except Skipped as reason:
                self._drop(name, reason)
        self.runners.clear()
        return self.found

    def _late(self, share: float = 1.0) -> bool:
        """Whether that share of the time is over."""
        if self._end is None:
            return False
        return time.perf_counter() > self._begun + share * (self._end - self._begun)

    def _turn(self, name: str, turn: Callable[[str, Runner], dict[str, Any]]) -> None:
        try:
            before = self.energy.joules()
            row = turn(name, self.runners[name])
            after = self.energy.joules()
            if before is not None and after is not None:
                row["joules"] = after - before
            self.found[name]["rounds"].append(row)
        except Skipped as reason:
            self._drop(name, reason)

    def _drop(self, name: str, reason: Skipped) -> None:
        runner = self.runners.pop(name, None)
        if runner is not None:
            runner.stop()
        self.found[name] = {"skipped": str(reason)}
        print(f"{name}: skipped, {reason}", file=sys.stderr, flush=True)


def several(run: Callable[[float | None], Found], starts: int, budget_s: float | None) -> Found:
    """Several races of the same contenders as one, each with processes of its own.

    How fast a process is depends on where its memory and threads came to lie, too, which its rounds
    share; more starts average that out.

    Args:
        run: One race, within so many seconds; None: to its end.
        starts: How many.
        budget_s: For all of them. One that would not fit, judged by the longest, is left out.
    """
    begun = time.perf_counter()
    founds, longest_s = [run(budget_s)], time.perf_counter() - begun
    for number in range(1, starts):
        before = time.perf_counter()
        if budget_s is not None and before - begun + longest_s > budget_s:
            print(f"no time was left for {starts - number} more starts", file=sys.stderr)
            break
        founds.append(run(None))
        longest_s = max(longest_s, time.perf_counter() - before)
    return merged(founds)


def merged(founds: list[Found]) -> Found:
    """All rounds of several races, and the rest of the first; who was skipped in any is skipped."""
    whole: Found = {}
    for name, entry in founds[0].items():
        entries = [found[name] for found in founds]
        skipped = next((each for each in entries if "skipped" in each), None)
        rounds = [row for each in entries for row in each.get("rounds", [])]
        whole[name] = skipped or {**entry, "rounds": rounds}
    return whole


def rate(row: dict[str, Any]) -> float:
    """Examples a second in one round."""
    return row["count"] / row["seconds"]


def summarise(
    found: Found, peers: tuple[str, ...], value: Callable[[dict[str, Any]], float] = rate
) -> None:
    """Add each contender's value by round, its median and spread, and its ratios to the peers.

    A ratio is the median over rounds, as these were interleaved; so it is not the quotient of the
    medians.
    """
    values = {n: [value(row) for row in e["rounds"]] for n, e in found.items() if "rounds" in e}
    for name, own in values.items():
        found[name] |= {"values": own, **spread(own), "ratios": {}}
        for peer in peers:
            if peer in values:
                ratios = [a / b for a, b in zip(own, values[peer], strict=True)]
                found[name]["ratios"][peer] = statistics.median(ratios)


def spread(values: list[float]) -> dict[str, float]:
    """The median, and how far apart the values are."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}
