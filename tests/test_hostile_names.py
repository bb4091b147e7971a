"""A thousand names that want out of their folder or into another's: none gets there.

``HOSTILE_NAMES=1000 pytest tests/test_hostile_names.py`` checks that many, and
``python -m tests.test_hostile_names 1000`` does without pytest and prints what came of it.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from llm_tool.config import make_config
from llm_tool.data.columns import Columns
from llm_tool.data.dataset import build_dataset
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, JobEnded
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.category_rows import training_columns
from llm_tool.logs.journal import read_events
from llm_tool.plan import Job, Task
from llm_tool.text import UNWRITABLE
from llm_tool.trainers import saving
from tests.test_events import made_end, made_epoch

NAMES = int(os.environ.get("HOSTILE_NAMES", "200"))
GROUP = 10
TABLE = "table.jsonl"
# Where there is a disk in memory: each record waits until it is on the disk, thousands of times.
DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

KNOWN = [
    *("", " ", ".", "..", "../../up", "a/../..", "/etc/passwd", "/", "~", "~root", "-rf", "a/b"),
    *("C:\\x", "c:x", "\\\\server\\share", "\\\\?\\C:\\x", "..\\..\\up", "a:b", "file:///etc"),
    *("CON", "con", "nul.txt", "AUX ", "com1", "COM¹", "LPT9.", "conin$", "a.", "a ", " a", "a_"),
    *("session.json", "SESSION.JSON", "jobs.jsonl", ".lock", "runs", "training.csv", "best.csv"),
    *("default", "j0001", "journal.jsonl", ".j0001.tmp", "macro", "class_macro", "not_a", "a=b"),
    *("é", "e\u0301", "É", "ﬁ", "fi", "K", "\u212a", "ſ", "s", "ß", "ss", "İ", "i\u0307", "①", "1"),
    *("\u200b", "a\u200b", "\ufeff", "\u202egnp.exe", "\u2066x\u2069", "\u2028", "\x85"),
    *(
        "\ud800",
        "\udfff",
        "a\udce9",
        "\ud83d\ude00"[:1],
        "\0",
        "a\0b",
        "\x1b[2J",
        "\x9b31m",
        "\r\n",
    ),
    *("[red]x[/red]", "[/]", "{x}", "%s", "$HOME", "`id`", "'; DROP", "<b>", "&amp;", "\\x00", '"'),
    *(
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "\r=1",
        "＝1",
        "'",
        "''=1",
        "# x",
        "NA",
        "nan",
        "None",
        ",",
    ),
]
anything = st.text(st.characters(exclude_categories=()), max_size=40)
pieces = st.lists(st.sampled_from(KNOWN), min_size=2, max_size=4).map("".join)
long = st.builds(lambda text, times: (text or "x") * times, anything | pieces, st.integers(20, 250))
alike = st.text("aAéÉe\u0301ﬁfi①1K\u212aksſßSİ ._/", min_size=1, max_size=2)
base = st.one_of(st.sampled_from(KNOWN), st.sampled_from(KNOWN), anything, pieces, alike, long)

TWINS = [
    str.upper,
    str.lower,
    str.swapcase,
    str.casefold,
    *(lambda name, form=form: unicodedata.normalize(form, name) for form in
      ("NFC", "NFD", "NFKC", "NFKD")),
    *(lambda name, end=end: name + end for end in (".", " ", "_", "\u200b", "\0", "\ud800", "-2")),
    lambda name: name.replace("/", "_").replace(" ", "_"),
    lambda name: name[:50],
    lambda name: name,
]  # fmt: skip


@st.composite
def groups(draw: st.DrawFn) -> list[str]:
    """Draw names of which many are nearly the same."""
    names = [draw(base)[:10_000] for _ in range(GROUP // 2)]
    while len(names) < GROUP:
        names.append(draw(st.sampled_from(TWINS))(draw(st.sampled_from(names))))
    return names


@dataclass
class Watch:
    """Notes what this process writes or deletes outside a folder, as Python's audit events say."""

    inside: str = ""
    outside: list[str] = field(default_factory=list)

    @contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        self.inside = os.path.realpath(folder)
        try:
            yield
        finally:
            self.inside = ""

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.inside or event not in TOUCHING:
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        for path in arguments[: TOUCHING[event]]:
            if isinstance(path, str | bytes | os.PathLike):  # else a file that is already open
                real = Path(os.path.realpath(os.fsdecode(path)))
                if not real.is_relative_to(self.inside) and str(real) != os.devnull:
                    self.outside.append(str(real))


# Audit events that change something on disk, and how many paths they name.
TOUCHING = {"open": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.mkdir": 1, "os.rmdir": 1,
            "os.remove": 1, "os.truncate": 1, "shutil.rmtree": 1}  # fmt: skip
WATCH = Watch()
sys.addaudithook(WATCH.hear)


def as_loaded(name: str, folder: Path) -> str:
    """Return a name as it gets past settings and tables, which must stop what is unwritable."""
    if not UNWRITABLE.search(name):
        return name
    for setting in ("model", "label", "data", "logs_dir", "models_dir"):
        with pytest.raises(StudioError, match="is not valid Unicode, or holds a NUL"):
            make_config({setting: name})
    path = folder / TABLE
    row = {"text": "a text", "label": name, "many": [name], "lang": name, "id": name, name: "x"}
    path.write_text(json.dumps(row) + "\n", "ascii")
    table = read_table(path)
    own = Columns("text", ("label", "many"), "lang", "id", "lang", None)
    dataset = build_dataset(table, own, "table")
    keys = [value for key in dataset.keys.values() for row in key.values for value in row]
    values = [*dataset.ids, *dataset.languages, *dataset.groups, *keys, *table.frame.columns]
    assert not [value for value in values if UNWRITABLE.search(value)]
    return dataset.keys["label"].values[0][0]


def made_jobs(names: Sequence[str]) -> list[Job]:
    """Return jobs in which every name is a key, a value, a class, a model and a language."""
    classes = tuple(dict.fromkeys([*names[:3], "yes", "no"]))
    spoken = tuple(dict.fromkeys(name.upper() for name in names[3:6] if name))
    jobs = []
    for number, (own, other) in enumerate(zip(names, [*names[1:], names[0]], strict=True)):
        values = (f"not_{own}", own)
        for task in (Task(own, "", classes, spoken), Task(f"k{number % 3}", own, values, spoken)):
            identifier = f"{own}{number}{task.kind}"
            jobs.append(Job(task, other, other, own.upper(), identifier=identifier))
    return jobs


def run(session: Session, jobs: Sequence[Job]) -> dict[Job, list[EpochEnded | JobEnded]]:
    """Run jobs of one epoch through a session; return what each one recorded."""
    with session.run(jobs, {}, {}) as named:
        recorded = {job: [made_epoch(job), made_end(made_epoch(job))] for job in named}
        for events in recorded.values():
            for event in events:
                session.record(event)
    return recorded


def same(names: Sequence[str], form: str) -> int:
    """Return how many names are the same as another one, to a file system that folds them."""
    return len(names) - len({unicodedata.normalize(form, name).casefold() for name in names})


def check_logs(session: Session, recorded: dict[Job, list[EpochEnded | JobEnded]]) -> int:
    """Check that all names come back as they were; return how many categories share a folder."""
    of_folder: dict[Path, list[Job]] = {}
    for job, events in recorded.items():
        assert list(read_events(session.run_folder(job) / "journal.jsonl")) == events
        of_folder.setdefault(session.category_folder(job.task), []).append(job)
    for folder, jobs in of_folder.items():
        for name in ("training.csv", "best.csv"):
            table = read_metrics(folder / name)
            columns = training_columns(job.task for job in jobs)
            assert list(table.columns[: len(columns)]) == columns
            rows = table[["model_identifier", "label_key", "label_value", "model_name", "language"]]
            assert list(rows.itertuples(index=False, name=None)) == [
                (j.identifier, j.task.label_key, j.task.label_value, j.model_name, j.language)
                for j in jobs
            ]
    categories = {(job.task.label_key, job.task.label_value) for job in recorded}
    return same([session.category_name(Task(*category)) for category in categories], "NFKC")


def check_models(session: Session, jobs: Sequence[Job], folder: Path) -> int:
    """Make the folder of every job's model, as saving does; return how many are shared."""
    targets = []
    for job in jobs:
        target = saving._target(job, session, folder)
        assert len(target.name.encode()) <= 255
        target.mkdir(parents=True, exist_ok=True)
        targets.append(str(target.relative_to(folder)))
    return same(targets, "NFC")


def check_names(examples: int) -> dict[str, int]:
    """Enter about so many hostile names into sessions; return what was counted."""
    counted = {"names": 0, "writes_outside": 0, "collisions": 0}

    @settings(
        max_examples=-(-examples // GROUP),
        deadline=None,
        database=None,
        phases=[Phase.generate],  # making a failure smaller would take longer than reading it
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(groups())
    def check(names: list[str]) -> None:
        with TemporaryDirectory(dir=DISK) as root:
            logs, models, canary = (Path(root, name) for name in ("logs", "models", "canary"))
            canary.write_text("sings")
            loaded = [as_loaded(name, Path(root)) for name in names]
            session = Session(logs, "20260102_030405")
            with WATCH.over(logs):
                recorded = run(session, made_jobs(loaded))
            counted["collisions"] += check_logs(session, recorded)
            with WATCH.over(models):
                counted["collisions"] += check_models(session, list(recorded), models)
            assert {p.name for p in Path(root).iterdir()} <= {"logs", "models", "canary", TABLE}
            assert canary.read_text() == "sings"
        counted["names"] += len(names)
        counted["writes_outside"] = len(WATCH.outside)
        assert not WATCH.outside
        assert not counted["collisions"]

    check()
    return counted


def test_no_name_leaves_its_folder_takes_another_s_or_is_changed_on_its_way() -> None:
    counted = check_names(NAMES)

    assert counted.pop("names") >= NAMES
    assert counted == {"writes_outside": 0, "collisions": 0}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check_names(int(sys.argv[1]))) + "\n")
