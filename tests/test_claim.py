"""Whose a run folder is: that of the attempt that claimed it last, with no lock."""

from __future__ import annotations

import json
import os
import platform
import threading
from pathlib import Path

import pytest

from llm_tool.errors import DiskError
from llm_tool.logs.claim import ATTEMPT, Claim, Replaced


def test_a_claim_makes_the_folder_and_says_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    folder = tmp_path / "runs" / "j0001"

    claim = Claim(folder)

    claim.check()
    about = json.loads((folder / ATTEMPT).read_text("utf-8"))
    assert about.pop("started") > 0
    assert about == {
        "attempt": claim.id, "host": platform.node(), "pid": os.getpid(), "slurm_job_id": "77"
    }  # fmt: skip
    assert [path.name for path in folder.iterdir()] == [ATTEMPT]


def test_the_claim_before_is_over(tmp_path: Path) -> None:
    first = Claim(tmp_path)
    second = Claim(tmp_path)

    second.check()
    with pytest.raises(Replaced):
        first.check()
    first.release()  # is not the second one's
    second.check()
    second.release()
    assert not list(tmp_path.iterdir())
    for claim in (first, second):
        with pytest.raises(Replaced):
            claim.check()


def test_of_many_claims_at_once_one_holds(tmp_path: Path) -> None:
    claims: list[Claim] = []
    start = threading.Barrier(8)

    def claim() -> None:
        start.wait()
        claims.append(Claim(tmp_path))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claims) == 8
    assert [path.name for path in tmp_path.iterdir()] == [ATTEMPT]
    assert sum(_holds(claim) for claim in claims) == 1


def _holds(claim: Claim) -> bool:
    try:
        claim.check()
    except Replaced:
        return False
    return True


@pytest.mark.parametrize("content", [b"", b"{torn", b"[1]", b'{"other": 1}', b"\xff"])
def test_a_damaged_claim_is_nobodys(tmp_path: Path, content: bytes) -> None:
    claim = Claim(tmp_path)
    (tmp_path / ATTEMPT).write_bytes(content)
    with pytest.raises(Replaced):
        claim.check()


def test_a_folder_that_cannot_be_written_or_read_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="Claiming the job failed"):
        Claim(tmp_path / "file")
    claim = Claim(tmp_path)
    (tmp_path / ATTEMPT).unlink()
    (tmp_path / ATTEMPT).mkdir()
    with pytest.raises(DiskError, match="Reading who trains the job failed"):
        claim.check()
    claim.release()  # nothing depends on that
