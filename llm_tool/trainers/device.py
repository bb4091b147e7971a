"""Where and in which arithmetic a model is trained."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from llm_tool.config import Precision

# Padded tokens in one forward pass. On a CPU small pieces stay in the cache; a GPU wants large
# ones. The effective batch does not depend on it: gradients are accumulated to batch_size.
TOKEN_BUDGET = {"cpu": 1024, "mps": 8192, "cuda": 32768}


def best_device() -> torch.device:
    """Return the fastest device of the machine: cuda, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def best_precision(device: torch.device) -> Precision:
    """Return ``bfloat16`` where the device multiplies it natively, else ``float32``."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        can: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    else:
        native = False
    return "bfloat16" if native else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return a context in which matrices are multiplied in a precision; weights stay float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
