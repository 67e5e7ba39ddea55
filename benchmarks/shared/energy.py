"""Energy that a GPU has used, where it counts it."""

from typing import Any


class Energy:
    """NVML's counter of the first GPU; None where there is no GPU, no counter or no nvidia-ml-py.

    All of the device is counted, whoever uses it, idle power included.
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        try:
            import pynvml
        except ModuleNotFoundError:
            return
        try:
            pynvml.nvmlInit()
            self._device = pynvml.nvmlDeviceGetHandleByIndex(0)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._device)
        except pynvml.NVMLError:
            return
        self._nvml = pynvml

    def joules(self) -> float | None:
        """Since the driver was loaded."""
        if self._nvml is None:
            return None
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device) / 1000
