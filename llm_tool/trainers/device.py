"""Where and in which arithmetic a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

from llm_tool.config import Precision, TrainingSettings
from llm_tool.trainers.kernels import keep_memory, release_memory

# Padded tokens in one forward pass. On a CPU small pieces stay in the cache; a GPU wants large
# ones. The effective batch does not depend on it: gradients are accumulated to batch_size.
TOKEN_BUDGET = {"cpu": 1024, "mps": 8192, "cuda": 32768}

_DEFAULT_THREADS = torch.get_num_threads()

T = TypeVar("T")


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


def place(
    model: torch.nn.Module,
    settings: TrainingSettings,
    device: torch.device | None = None,
    processes: int = 1,
) -> tuple[torch.device, Precision]:
    """Put a model where it is trained, with its threads; return where, and in which arithmetic.

    Args:
        model: The model.
        settings: How it is trained.
        device: Where; by default the fastest device.
        processes: How many share the job's threads.
    """
    own = max(1, settings.threads // processes) if settings.threads else _DEFAULT_THREADS
    torch.set_num_threads(own)
    keep_memory()
    device = device or best_device()
    model.to(device)
    return device, settings.precision or best_precision(device)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return a context in which matrices are multiplied in a precision; weights stay float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's random numbers, of the processor and of a device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(device: torch.device, states: dict[str, torch.Tensor]) -> None:
    """Go on with the random numbers where ``random_state`` was asked."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def with_less_memory(budget: int, longest: int, attempt: Callable[[int], T]) -> tuple[T, int]:
    """Return what ``attempt(budget)`` returns, with the budget halved whenever memory runs out.

    Args:
        budget: Padded tokens that go through a model at once.
        longest: Tokens of the longest text; with a budget below that, less does not help.
        attempt: What to do; it is done anew from its beginning.

    Returns:
        The result, and the budget with which it was reached.

    Raises:
        RuntimeError: Memory ran out even for one text at a time.
    """
    while True:
        try:
            return attempt(budget), budget
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or budget <= longest:
                raise
        # Only here is what the attempt held let go: while an error is handled, it holds it.
        release_memory()
        budget //= 2
