"""Contenders that do nothing, for the tests of the race."""

import os


class Counter:
    """Counts, or fails where it is told to."""

    device, settings = "cpu", {"kind": "counter"}

    def __init__(self, step: int = 1, fail: str = ""):
        self.step, self.fail = step, fail
        if fail == "start":
            raise RuntimeError("it cannot start\nand this is a second line")

    def run(self, steps: int) -> dict:
        if self.fail == "run":
            raise ValueError("it cannot run")
        if self.fail == "die":
            os._exit(3)
        return {"count": self.step * steps}
