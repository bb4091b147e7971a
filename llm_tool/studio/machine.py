"""What the machine offers, found out without torch: the menu must come up at once."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

from llm_tool.execution.resources import usable_cores


def describe_machine() -> str:
    """Return device, cores and free memory, as ``CPU, 2 cores, 23 GB free``."""
    cores = usable_cores()
    free = psutil.virtual_memory().available / 1e9
    return f"{_device()}, {cores} core{'s' if cores > 1 else ''}, {free:.0f} GB free"


def _device() -> str:
    for facts in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        for line in facts.read_text("utf-8", "replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Apple GPU"
    return "CPU"
