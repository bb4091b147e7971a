"""What jobs are given: few files, whole or not there, and in them just what a job needs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm_tool.config import RunConfig
from llm_tool.errors import DiskError, StudioError
from llm_tool.events import Event, JobFailed, Preparing
from llm_tool.execution import prepared as preparing
from llm_tool.execution.job import PreparedEncoder
from llm_tool.execution.prepared import job_command, prepare_jobs, prepared_folder
from llm_tool.execution.prepared_files import Manifest, PreparedFolder
from llm_tool.logs import Session
from llm_tool.plan import Job
from llm_tool.trainers.model_trainer import Encoder, prepare_job
from llm_tool.trainers.pretrained import load_tokenizer
from tests.jobs_by_hand import SESSION_ID, Prepared, prepared, settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder_of(own: Prepared) -> PreparedFolder:
    return prepared_folder(own.session, own.trainings[0][0])


def manifest_of(own: Prepared) -> Manifest:
    manifest = folder_of(own).read()
    assert manifest is not None
    return manifest


def names(own: Prepared) -> list[str]:
    return sorted(path.name for path in folder_of(own).folder.iterdir())


def test_how_far_the_preparing_is_is_told_as_it_goes(
    tweets: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = prepared(settings(tweets, tiny_bert, seeds=(1, 2)))
    shutil.rmtree(folder_of(own).folder)
    rows = sum(map(len, own.trainings[0][1].named().values()))
    monkeypatch.setattr(preparing, "_PIECE", rows // 2)
    told: list[Event] = []

    prepare_jobs(own.trainings, own.dataset, own.config, own.session, told.append)

    name = tiny_bert.name
    shares = [start / rows for start in range(rows // 2, rows, rows // 2)]
    assert told == [
        Preparing(f"loading {name}"),
        *(Preparing(f"tokenising for {name}", share) for share in shares),
        Preparing("writing what they need"),
    ]


def again(own: Prepared, config: RunConfig | None = None) -> list[JobFailed]:
    ready, failed = prepare_jobs(own.trainings, own.dataset, config or own.config, own.session)
    assert [job for job, _ in ready] + [one.job for one in failed] == [
        job for job, _ in own.trainings
    ]
    return failed


@pytest.mark.parametrize("treatment", ["chunk", "truncate", "exclude", None])
def test_a_job_is_trained_on_what_it_would_be_on_this_machine(
    tweets: Path, tiny_bert: Path, treatment: str | None
) -> None:
    head, *lines = tweets.read_text("utf-8").splitlines(keepends=True)
    longer = [line.replace("was", "was and is and was", i % 3 == 0) for i, line in enumerate(lines)]
    tweets.write_text("".join([head, *longer]), "utf-8")
    own = prepared(
        settings(
            tweets, tiny_bert, mode="custom", label=("sentiment", "areas"), max_length=11,
            long_documents=treatment, small_classes="drop",
        )
    )  # fmt: skip
    tweets.unlink()
    folder, manifest = folder_of(own), manifest_of(own)
    assert len(own.trainings) == 4
    for job, parts in own.trainings:
        encoder = Encoder(job.model, own.dataset, own.config.max_length)
        model, data, resolved = prepare_job(job, parts, own.dataset, encoder, own.config)

        read = folder.parts_of(manifest, job.id)
        assert read.named() == {name: list(rows) for name, rows in parts.named().items()}
        every = [row for rows in read.named().values() for row in rows]
        rows = folder.rows_of(manifest, every, {job.task.label_key})
        tokenizer, _ = load_tokenizer(tiny_bert)
        tokens = folder.tokens_of(manifest.tokens[0], tokenizer, every, own.config.window_overlap)
        given = PreparedEncoder(tiny_bert, tokenizer, tokens)
        other_model, other, other_resolved = prepare_job(job, read, rows, given, own.config)

        assert other_resolved == resolved
        assert (other.cut, other.excluded, other.chunked) == (data.cut, data.excluded, data.chunked)
        assert max(other.cut, other.excluded, other.chunked) > 0
        for name in ("train", "validation", "test"):
            mine, theirs = getattr(data, name), getattr(other, name)
            assert [i.tolist() for i in theirs.token_ids] == [i.tolist() for i in mine.token_ids]
            np.testing.assert_array_equal(theirs.labels, mine.labels)
            assert (theirs.languages, theirs.rows) == (mine.languages, mine.rows)
            assert (theirs.ids, theirs.window_length) == (mine.ids, mine.window_length)
        weights = model.state_dict()
        assert all(w.equal(weights[name]) for name, w in other_model.state_dict().items())


def test_there_are_as_many_files_for_many_jobs_as_for_one(
    tweets: Path, tiny_bert: Path, here: Path
) -> None:
    other = shutil.copytree(tiny_bert, here / "other-bert")
    own = prepared(
        settings(
            tweets, tiny_bert, other, mode="benchmark", label=("sentiment", "areas"), folds=2,
            seeds=tuple(range(20)), small_classes="drop",
        )
    )  # fmt: skip

    assert len(own.ready) == len(own.trainings) == 4 * 2 * 2 * 20
    kinds = [name.rpartition(".")[0].partition("-")[0] for name in names(own)]
    assert kinds == ["manifest", "parts", "rows", "tokens"]  # both models share a tokenizer
    manifest = manifest_of(own)
    assert len(manifest.jobs) == len(own.trainings)
    assert 1 < len(set(manifest.jobs.values())) <= 4 * 2  # by task and fold
    assert {model.tokens for model in manifest.models.values()} == {0}


def test_a_tokenizer_of_its_own_gives_a_model_tokens_of_its_own(
    tweets: Path, tiny_bert: Path, here: Path
) -> None:
    other = shutil.copytree(tiny_bert, here / "other-bert")
    path = other / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 10}))
    own = prepared(settings(tweets, tiny_bert, other, mode="benchmark"))
    manifest = manifest_of(own)
    assert [tokens.max_length for tokens in manifest.tokens] == [64, 10]
    assert manifest.models[str(other)].tokens == 1
    assert own.run(0, 1) == [0, 0]


def test_a_model_that_cannot_be_had_fails_its_jobs_and_no_others(
    tweets: Path, tiny_bert: Path, here: Path
) -> None:
    shutil.copytree(tiny_bert, here / "later")
    config = settings(tweets, tiny_bert, "./later", mode="benchmark", seeds=(1, 2))
    (here / "later").rename(here / "elsewhere")
    own = prepared(config)

    assert [(job.model, job.seed) for job, _ in own.ready] == [
        (str(tiny_bert), 1), (str(tiny_bert), 2)
    ]  # fmt: skip
    encoder = Encoder("./later", own.dataset, None)
    with pytest.raises(StudioError) as error:
        encoder.load()
    assert [(one.what, one.where, one.remedy) for one in own.failed] == [
        (error.value.what, error.value.where, error.value.remedy)
    ] * 2
    before = names(own)
    assert [one.job.seed for one in again(own)] == [1, 2]  # it is not there yet: nothing is new
    assert names(own) == before

    (here / "elsewhere").rename(here / "later")
    assert again(own) == []
    assert names(own) != before
    assert manifest_of(own).models["./later"].folder == str(here / "later")
    assert own.run(*range(4)) == [0] * 4


def test_what_is_prepared_is_used_again_while_it_fits(
    tweets: Path, tiny_bert: Path, here: Path
) -> None:
    copy = shutil.copytree(tiny_bert, here / "copy")
    own = prepared(settings(tweets, copy, seeds=(1, 2)))
    before = names(own)

    assert again(own) == []
    assert names(own) == before
    prepare_jobs(own.trainings[1:], own.dataset, own.config, own.session)
    assert names(own) == before
    assert set(manifest_of(own).jobs) == {"j0001", "j0002"}

    used = [set(manifest_of(own).files)]
    again(own, own.config.model_copy(update={"threads": 2}))
    used.append(set(manifest_of(own).files))
    again(own)
    used.append(set(manifest_of(own).files))
    own.dataset = replace(own.dataset, sha256="other")
    again(own)
    used.append(set(manifest_of(own).files))
    os.utime(copy / "config.json", ns=(1, 1))
    again(own)
    used.append(set(manifest_of(own).files))
    assert len(set.union(*used)) == 5 * 3
    # A job may have read the manifest before just now.
    assert set(names(own)) == {"manifest.json", *used[-1], *used[-2]}


@pytest.mark.parametrize("kind", ["manifest", "rows", "parts", "tokens"])
def test_what_was_not_prepared_to_the_end_is_prepared_anew(
    tweets: Path, tiny_bert: Path, kind: str
) -> None:
    own = prepared(settings(tweets, tiny_bert))
    folder = folder_of(own).folder
    next(folder.glob(f"{kind}*")).unlink()
    (folder / "rows-left.parquet").write_text("")
    assert folder_of(own).read() is None

    assert again(own) == []

    assert len(names(own)) == 4
    assert own.run(0) == [0]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "keys": 2}'])
def test_a_damaged_manifest_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert PreparedFolder(tmp_path).read() is None
    assert PreparedFolder(tmp_path / "nowhere").read() is None


def test_a_folder_that_cannot_be_written_stops_the_run(tweets: Path, tiny_bert: Path) -> None:
    own = prepared(settings(tweets, tiny_bert))
    shutil.rmtree(own.session.cluster_folder)
    own.session.cluster_folder.write_text("")
    with pytest.raises(DiskError):
        again(own)


def test_the_command_of_a_job_can_be_given_from_any_folder(here: Path) -> None:
    words = job_command(Session("training_logs", SESSION_ID), "j0012")
    plan = str(here / "training_logs" / SESSION_ID / "jobs.jsonl")
    assert words == [sys.executable, "-m", "llm_tool", "job", "run", plan, "--index", "11"]


def test_a_job_of_no_run_has_no_preparation(tweets: Path, tiny_bert: Path) -> None:
    own = prepared(settings(tweets, tiny_bert))
    job: Job = replace(own.trainings[0][0], id="j0099")
    with pytest.raises(StudioError, match="No run of the session has the job j0099"):
        prepared_folder(own.session, job)
    assert preparing.prepare_jobs([], own.dataset, own.config, own.session) == ([], [])
