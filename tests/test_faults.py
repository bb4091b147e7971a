"""Kills and failing disks, the short form; the long one is ``python -m tests.faults --help``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from tests.faults.files import State, broken, compare
from tests.faults.kills import kill_mode
from tests.faults.runs import MODES, Material, Server, make_material
from tests.faults.shim import Fault, Shim, missing
from tests.faults.writes import fail_writes

SEED = 1
needs_fork = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="runs are begun by fork, which torch allows on Linux",
)
needs_shim = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def shim(material: Material) -> Shim | None:
    return None if missing() else Shim(material.folder)


@pytest.fixture(scope="module")
def server(material: Material, shim: Shim | None) -> Iterator[Server]:
    made = Server(material.folder, shim.environment if shim else {})
    yield made
    made.close()


@needs_fork
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_killed_and_resumed_ends_as_if_nothing_had_happened(
    mode: str, server: Server, material: Material, tmp_path: Path
) -> None:
    number = 1 if mode == "distributed" else 3  # each worker takes seconds to load its libraries

    found = kill_mode(server, material, mode, number, SEED, tmp_path)

    assert found.problems() == []
    assert found.kills >= number


@needs_shim
@pytest.mark.parametrize("mode", ["quick", "shared encoder", "reinforced"])
def test_a_call_that_fails_corrupts_nothing_and_the_run_can_be_finished(
    mode: str, server: Server, shim: Shim, material: Material, tmp_path: Path
) -> None:
    found = fail_writes(server, shim, material.train(mode, epochs=2), tmp_path, number=21)

    assert found.problems() == []
    assert found.calls == 21


@needs_shim
def test_the_call_that_is_to_fail_is_the_one_that_fails(
    server: Server, shim: Shim, material: Material, tmp_path: Path
) -> None:
    shim.watch(tmp_path, Fault(1))

    ended = server.run(material.train("quick"), tmp_path)

    assert shim.struck == f"mkdir {tmp_path}/logs/20260101_000000"
    assert "No space left on device" in ended.output
    assert ended.code == 2


def torn(write: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return a function that writes a file and then takes its last bytes away."""

    def write_torn(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[:-3])

    return write_torn


HEADER = "# 1\n# 2\n# 3\n# 4\nepoch,label_value\n"
WRITERS: dict[str, Callable[[Path], object]] = {
    "training.csv": lambda path: path.write_text(HEADER + "1,abc\n"),
    "session.json": lambda path: path.write_text('{"status": "done"}'),
    "jobs.jsonl": lambda path: path.write_text('{"model": "tiny"}\n' * 2),
    "journal.jsonl": lambda path: path.write_text('{"event": "job_started"}\n' * 2),
    "split.parquet": lambda path: pq.write_table(pa.table({"row": [1, 2]}), path),
    "model.safetensors": lambda path: save_file({"weight": torch.zeros(3)}, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_torn_file_is_seen(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    assert broken(tmp_path) == []

    torn(WRITERS[name])(tmp_path / name)

    assert [line.split(":")[0] for line in broken(tmp_path)] == [name]


def test_a_line_that_a_cut_short_write_tore_is_allowed_in_a_journal_only(tmp_path: Path) -> None:
    for name in ("journal.jsonl", "jobs.jsonl"):
        torn(WRITERS[name])(tmp_path / name)

    assert [line.split(":")[0] for line in broken(tmp_path, torn=1)] == ["jobs.jsonl"]


def test_what_is_lost_doubled_changed_or_left_over_is_seen() -> None:
    before = State("done", {("a", "1"): {"f1": "0.5"}, ("a", "2"): {"f1": "0.6"}}, [], {"a": "x"})
    after = State("done", {("a", "1"): {"f1": "0.7"}}, [("a", "1")], {"a": "y", "b": "z"})

    found = compare(before, after)

    assert found.lost == ["a 2"]
    assert found.duplicated == ["a 1"]
    assert found.differing == ["a 1: f1 '0.5': '0.7'", "a"]
    assert found.left_over == ["b"]
    assert compare(before, before).all() == []
