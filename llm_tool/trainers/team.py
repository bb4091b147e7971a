"""Several processes that train one job: each takes its share of every batch, all take one step.

Accelerate sets them up, on GPUs or on CPUs, on one machine or on several. Each holds the whole
model; after a batch the gradients of all are added up, and so is all that decides how it goes on,
so that every process decides alike. The first one alone reads, writes and tells.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from llm_tool.errors import StudioError
from llm_tool.stopping import ask_pause, pause_asked, pause_signal
from llm_tool.trainers.device import best_device, out_of_memory, with_less_memory
from llm_tool.trainers.kernels import release_memory

_PATIENCE = timedelta(hours=1)  # to wait for one that saves a large model on a slow disk

T = TypeVar("T")
Values = TypeVar("Values", bound=NDArray[Any])


class Team:
    """The processes that train a job together, seen from one of them; most often it is alone."""

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        """Name a process.

        Args:
            rank: Its number among all, from 0.
            size: How many there are.
            device: Where it computes, if that is decided.
        """
        self.rank, self.size = rank, size
        self._device = device
        self._pausing = False

    @classmethod
    def alone(cls) -> Team:
        """Return a team of one process; it costs nothing."""
        return cls()

    @classmethod
    def here(cls) -> Team:
        """Return the team that this process was started for: alone, unless a launcher did it.

        Raises:
            StudioError: Accelerate is not installed, or there are fewer GPUs than processes.
        """
        named = {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
        if not named or int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls.alone()
        device, gpus = best_device(), torch.cuda.device_count()
        if device.type == "cuda" and gpus < _beside():
            raise StudioError(
                f"There are {gpus} GPUs here for {_beside()} processes.",
                remedy="Set --processes to the number of GPUs of a node.",
            )
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise StudioError(
                "Several processes train a job together with Accelerate, which is not installed.",
                remedy='Install it: pip install "llm-tool[multi-gpu]"; or use --processes 1.',
            ) from error
        state = PartialState(cpu=device.type != "cuda", timeout=_PATIENCE)
        atexit.register(_part)
        return cls(state.process_index, state.num_processes, state.device)

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that reads, writes and tells."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._device or best_device()

    @property
    def beside(self) -> int:
        """How many of the processes are on this machine."""
        return _beside() if self.size > 1 else 1

    def share(self, positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of this process's share of texts: as many, and as long, as others'.

        Args:
            positions: Those of all.
            lengths: Tokens of every text.
        """
        if self.size == 1:
            return positions
        return positions[np.argsort(lengths[positions], kind="stable")][self.rank :: self.size]

    def seed(self, *place: int) -> None:
        """Draw other random numbers than the others do, the same ones at the same place.

        Args:
            place: What tells it from others, as a job's seed, epoch and batch.
        """
        if self.size > 1:
            mixed = np.random.SeedSequence([*place, self.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(mixed[0]))

    def summed(
        self,
        token_budget: int,
        longest: int,
        attempt: Callable[[int], Values],
        shape: tuple[int, ...],
    ) -> tuple[Values, int]:
        """Return the sum of what ``attempt(token_budget)`` gives in each process.

        Where memory runs out in one, all do it again with less, see ``with_less_memory``. On the
        way every process learns whether one was asked to pause.

        Args:
            token_budget: Padded tokens that go through a model at once.
            longest: Tokens of the longest text.
            attempt: What each process does with its share.
            shape: That of the result.

        Returns:
            The sum, and the budget with which it was reached.
        """
        if self.size == 1:
            return with_less_memory(token_budget, longest, attempt)
        while True:
            own: Any = np.zeros(shape)
            failed = False
            try:
                own = attempt(token_budget)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                failed = True
            total, failed = self._agree(own, failed)
            if not failed:
                return total.astype(own.dtype), token_budget
            if token_budget <= longest:
                raise MemoryError
            release_memory()
            token_budget //= 2

    def _agree(self, values: NDArray[Any], failed: bool) -> tuple[Any, bool]:
        """Return the sum of values over all processes, and whether one failed."""
        asked = np.zeros(self.size)  # by which signal each was asked to pause
        asked[self.rank] = signal.Signals[pause_signal()] if pause_asked() else 0
        own = np.concatenate([[float(failed)], asked, values.ravel()]).astype(np.float64)
        total = self._reduce(torch.from_numpy(own).to(self.device)).cpu().numpy()
        names = total[1 : self.size + 1]
        self._pausing = bool(names.any())
        for number in names[names > 0][:1]:
            ask_pause(signal.Signals(int(number)).name)
        return total[self.size + 1 :].reshape(values.shape), bool(total[0])

    def _reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        from accelerate.utils import reduce

        with _with_the_others():
            total: torch.Tensor = reduce(tensor, reduction="sum")
        return total

    def pauses(self) -> bool:
        """Tell whether a pause was asked for, of any process until the last sum of all."""
        return pause_asked() if self.size == 1 else self._pausing

    def sum_gradients(self, model: torch.nn.Module) -> None:
        """Give every process the sum of the gradients of all; what none has stays without."""
        if self.size == 1:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        has = torch.tensor([float(w.grad is not None) for w in weights], device=self.device)
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        # In place and not by Accelerate, which would hold all of them once more.
        flat = torch.cat([has, *(part.ravel() for part in parts)])
        with _with_the_others():
            torch.distributed.all_reduce(flat)
        counts, *sums = flat.split([len(weights), *(weight.numel() for weight in weights)])
        for weight, count, own in zip(weights, counts.tolist(), sums, strict=True):
            weight.grad = own.view_as(weight) if count else None

    def start_alike(self, model: torch.nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size == 1:
            return
        with _with_the_others():
            for weights in model.state_dict().values():
                torch.distributed.broadcast(weights, 0)

    def first_says(self, what: Callable[[], T]) -> T:
        """Return what the first process finds; the others wait for it, and do not look."""
        if self.size == 1:
            return what()
        from accelerate.utils import broadcast_object_list

        said: list[Any] = [what() if self.is_first else None]
        with _with_the_others():
            broadcast_object_list(said)
        found: T = said[0]
        return found

    def wait(self) -> None:
        """Go on when all processes are here."""
        self.first_says(lambda: None)


def _beside() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def _with_the_others() -> Iterator[None]:
    """End this process where another one is gone: of the job itself, that says nothing.

    Raises:
        SystemExit: So that no failure is recorded, and the job can be gone on with.
    """
    try:
        yield
    except RuntimeError as error:
        atexit.unregister(_part)  # it would wait for the one that is gone
        why = "Another process of this job ended, and so does this one"
        raise SystemExit(f"{why}: {error}") from error


def _part() -> None:
    """Leave the others in good order; a process that just ends can abort at its very end."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
