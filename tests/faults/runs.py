"""The runs that are disturbed: their data, their command lines, and the server they run in."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import WORDS, tweets_csv

SESSION = "20260101_000000"
_ROOT = Path(__file__).parents[2]
_HANGS = 120.0  # seconds after which a run is given up
MODES: dict[str, list[str]] = {
    "quick": ["quick", "-l", "sentiment", "-l", "topic", "-m", "tiny"],
    "benchmark": ["benchmark", "-l", "sentiment", "-m", "tiny", "-m", "rival", "--seeds", "1,2"],
    "custom": ["custom", "-l", "topic", "-l", "areas", "-m", "tiny", "--one-vs-all", "topic"],
    "distributed": ["distributed", "-l", "areas", "-m", "tiny", "--workers", "2"],
    "shared encoder": ["distributed", "-l", "areas", "-m", "tiny", "--shared-encoder"],
    "hybrid": ["hybrid", "-l", "sentiment", "-l", "areas", "-m", "tiny"],
    "reinforced": ["reinforced", "-l", "topic", "-m", "tiny"],
}


@dataclass(frozen=True)
class Material:
    """A folder with the tweets, and two tiny models."""

    folder: Path

    def train(self, mode: str, epochs: int = 4) -> list[str]:
        """Return the words that train in a mode, with all folders below the working folder."""
        name, *words = MODES[mode]
        words = [str(self.folder / w) if w in ("tiny", "rival") else w for w in words]
        settings = ["--epochs", str(epochs), "--threads", "1", "--set", "reinforced_threshold=1.0"]
        # So that each epoch changes the model much, and the best one is not always the first.
        settings += ["--batch-size", "8", "--learning-rate", "3e-2", "--monitor", "val_loss"]
        folders = ["--session-id", SESSION, "--logs-dir", "logs", "--models-dir", "models"]
        return ["train", name, str(self.folder / "tweets.csv"), *words, *settings, *folders]


def make_material(folder: Path) -> Material:
    """Write the tweets, and two random BERTs with two layers of width 16."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    places = {word: place for place, word in enumerate(vocabulary)}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    for seed, name in enumerate(("tiny", "rival")):
        torch.manual_seed(seed)
        BertTokenizerFast(vocab=places, model_max_length=64).save_pretrained(folder / name)
        BertForSequenceClassification(config).save_pretrained(folder / name)
    return Material(folder)


def next_words(train: Sequence[str], folder: Path) -> list[str]:
    """Return what a user does after a run broke off: resume it, or start it if it is unknown."""
    known = (folder / "logs" / SESSION / "session.json").exists()
    return ["resume", SESSION, "--logs-dir", "logs"] if known else list(train)


@dataclass(frozen=True)
class Kill:
    """When to kill a run, and whom: all its processes, or the command without its workers."""

    after: float
    from_first_job: bool = False
    owner_only: bool = False


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (-9: killed), what it printed, and how long it took."""

    code: int
    output: str
    seconds: float
    group: int


class Server:
    """The process that has loaded everything (server.py), and one run in it at a time."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start the server; it keeps what runs print in a folder."""
        self._output = folder / "output.txt"
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            cwd=_ROOT,
            env={**os.environ, **offline, "OMP_NUM_THREADS": "1", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._said = b""
        self._hear(_HANGS)

    def _hear(self, seconds: float) -> int | None:
        """Return the next number that the server says, or nothing if it does not come in time."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._said:
            left = max(0.0, until - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                return None
            heard = os.read(self._process.stdout.fileno(), 4096)
            assert heard, "the server has ended"
            self._said += heard
        line, self._said = self._said.split(b"\n", 1)
        return int(line)

    def _until(self, kill: Kill, folder: Path) -> int | None:
        """Wait until the moment of a kill; return the exit code if the run ends before it."""
        began, code = time.time(), None
        while kill.from_first_job and code is None and not _at_work(folder, began):
            code = self._hear(0.005)
            assert time.time() - began < _HANGS, "no job is begun"
        return self._hear(kill.after) if code is None else code

    def run(self, words: Sequence[str], folder: Path, kill: Kill | None = None) -> Ended:
        """Run what stands behind ``llm-tool`` in a working folder, to its end or its kill.

        Raises:
            AssertionError: It does not end.
        """
        assert self._process.stdin is not None
        self._output.unlink(missing_ok=True)
        request = {"words": list(words), "folder": str(folder), "output": str(self._output)}
        began = time.monotonic()
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        group = self._hear(_HANGS)
        assert group is not None
        code = self._until(kill, folder) if kill else self._hear(_HANGS)
        hangs = code is None and kill is None
        if code is None:
            with suppress(ProcessLookupError):  # it ended just now
                (os.kill if kill and kill.owner_only else os.killpg)(group, signal.SIGKILL)
            code = self._hear(_HANGS)
        output = self._output.read_text("utf-8", "replace") if self._output.exists() else ""
        assert code is not None, f"{words} cannot be killed:\n{output}"
        assert not hangs, f"{words} hangs:\n{output}"
        return Ended(code, output, time.monotonic() - began, group)

    def close(self) -> None:
        """End the server."""
        self._process.communicate(timeout=_HANGS)


def _at_work(folder: Path, since: float) -> bool:
    """Tell whether a job has written something since a moment."""
    for path in folder.glob(f"logs/{SESSION}/*/runs/*/*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime > since:
                return True
    return False


def alive(group: int) -> list[int]:
    """Return the processes of a group that still run."""
    living = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return living


def wait_for_end(group: int, seconds: float = 20) -> bool:
    """Tell whether all processes of a group end within a time."""
    until = time.monotonic() + seconds
    while alive(group):
        if time.monotonic() > until:
            os.killpg(group, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True
