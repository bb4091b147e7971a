"""Kill -9 at random moments, resume, and compare with a run that nobody disturbed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from llm_tool.logs.journal import JOURNAL
from tests.faults.files import Differences, Key, State, broken, compare, read_state
from tests.faults.runs import SESSION, Kill, Material, Server, next_words, wait_for_end

_MOST = 3  # kills of one session
_TRIES = 8  # runs of one session until it has to be done


@dataclass(frozen=True)
class Reference:
    """A run that nobody disturbed: what it left, and how many seconds it loads and trains."""

    words: list[str]
    state: State
    loading: float
    training: float

    def kill(self, chance: random.Random) -> Kill:
        """Return a kill at a random moment: one in five while the run loads, the others later."""
        late, owner_only = chance.random() > 0.2, chance.random() < 0.5
        seconds = chance.uniform(0, self.training if late else self.loading)
        return Kill(seconds, from_first_job=late, owner_only=owner_only)


def empty(folder: Path) -> None:
    """Make a folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def refer(server: Server, words: list[str], folder: Path) -> Reference:
    """Run a command to its end."""
    empty(folder)
    began = time.time()
    ended = server.run(words, folder)
    assert ended.code == 0, ended.output
    assert not broken(folder)
    state = read_state(folder)
    phases = {cells["training_phase"] for cells in state.rows.values()}
    assert ("reinforced" in phases) == (words[1] == "reinforced"), phases
    begun = min(path.stat().st_mtime for path in folder.rglob("split.parquet"))
    over = max(path.stat().st_mtime for path in folder.rglob(JOURNAL))
    return Reference(words, state, begun - began, 1.1 * (over - begun))


@dataclass
class Kills:
    """What kills did to the runs of one mode or of several."""

    sessions: int = 0
    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    differences: Differences = field(default_factory=Differences)
    corrupt: list[str] = field(default_factory=list)
    not_resumable: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    def add(self, other: Kills) -> None:
        """Add the figures of other runs."""
        self.sessions += other.sessions
        self.kills += other.kills
        self.phases += other.phases
        for name, found in vars(other.differences).items():
            getattr(self.differences, name).extend(found)
        self.corrupt += other.corrupt
        self.not_resumable += other.not_resumable
        self.orphans += other.orphans

    def problems(self) -> list[str]:
        """Return one line for everything that is not as it should be."""
        lines = [f"corrupt after a kill: {one}" for one in self.corrupt]
        lines += [f"not resumable: {one}" for one in self.not_resumable]
        lines += [f"workers left: {one}" for one in self.orphans]
        return lines + self.differences.all()


def phase(folder: Path, reference: Reference) -> str:
    """Return how far a run had come when it was killed, from the journal written last."""
    journals = list(folder.glob(f"logs/{SESSION}/*/runs/*/{JOURNAL}"))
    if not journals:
        return "before the first job"
    told = {path: [json.loads(line)["event"] for line in _whole_lines(path)] for path in journals}
    planned = {Path(n) for n in reference.state.files if n.endswith(JOURNAL)}
    ends = sum("job_ended" in events for events in told.values())
    events = told[max(journals, key=lambda path: path.stat().st_mtime_ns)]
    if ends == len(planned):
        return "after the last job"
    if "job_ended" in events:
        return "between jobs"
    if "reinforcement_started" in events:
        return "in the reinforced phase"
    return "between epochs" if "epoch_ended" in events else "before a first epoch"


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]


def kill_session(
    server: Server, reference: Reference, folder: Path, chance: random.Random
) -> Kills:
    """Start a run, kill it up to three times, resume it to its end, and compare."""
    empty(folder)
    found = Kills(sessions=1)
    wanted = chance.choice((1, 1, 2, _MOST))
    held: set[Key] = set()
    left: int | None = None  # a killed command whose workers may still be there
    for _ in range(_TRIES):
        words = next_words(reference.words, folder)
        kill = reference.kill(chance) if found.kills < wanted else None
        ended = server.run(words, folder, kill)
        if kill and ended.code == -signal.SIGKILL:
            found.kills += 1
            found.phases[phase(folder, reference)] += 1
            if kill.owner_only and chance.random() < 0.5:
                left = ended.group  # resumed at once, which may be refused as long as they live
                continue
            if not wait_for_end(ended.group):
                found.orphans.append(f"{words}, {kill}")
            found.corrupt += broken(folder)
            held |= read_state(folder).rows.keys()
        elif ended.code == 2 and left is not None:
            if not wait_for_end(left):
                found.orphans.append(f"{words}, after a kill of their owner only")
            left = None
        elif ended.code == 0:
            break
        else:
            found.not_resumable.append(f"{' '.join(words)}: exit {ended.code}: {ended.output}")
            return found
    state = read_state(folder)
    found.differences = compare(reference.state, state)
    gone = held - state.rows.keys()
    found.differences.lost += [f"{' '.join(key)}: was there before a kill" for key in gone]
    return found


def kill_mode(
    server: Server, material: Material, mode: str, kills: int, seed: int, folder: Path
) -> Kills:
    """Kill sessions of one mode until there were so many kills."""
    chance = random.Random(f"{seed} {mode}")
    reference = refer(server, material.train(mode), folder / "reference")
    total = Kills()
    while total.kills < kills:
        total.add(kill_session(server, reference, folder / "run", chance))
    return total
