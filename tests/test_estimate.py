"""What a run will take, measured before it begins."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from llm_tool.config import RunConfig, make_config
from llm_tool.data.dataset import Dataset
from llm_tool.events import LongTexts, RunEstimated, from_json, to_json
from llm_tool.execution.estimate import estimate, job_seconds, schedule
from llm_tool.execution.local import run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.modes.planning import prepare
from llm_tool.plan import Parts, Plan
from llm_tool.studio.panels import about, show_plan
from llm_tool.trainers.model_trainer import Encoder
from llm_tool.trainers.probe import Probe, _fitted, probe
from tests.terminal import CTRL_C, Terminal
from tests.test_studio_terminal import answer_up_to_epochs

TIMES = ["timestamp", "seconds", "tokens_per_second", "saved_model_path"]
Planned = tuple[RunConfig, Dataset, Plan]
MakePlan = Callable[..., Planned]


@pytest.fixture
def planned(tweets: Path, tiny_bert: Path, tmp_path: Path) -> MakePlan:
    def make(**settings: object) -> Planned:
        config = make_config(
            {
                "data": str(tweets),
                "label": "sentiment",
                "model": str(tiny_bert),
                "epochs": 2,
                "logs_dir": str(tmp_path / "logs"),
                "models_dir": str(tmp_path / "models"),
                **settings,
            }
        )
        return config, *prepare(config)

    return make


@pytest.fixture
def some_long(tweets: Path) -> None:
    """Make ten of the sixty texts longer than the others."""
    longer = "the film and the book and the law "
    tweets.write_text(tweets.read_text().replace("the film ", longer))


def probed(run: Planned) -> Probe:
    config, dataset, plan = run
    job, parts = plan.jobs[0], plan.parts[0]
    encoder = Encoder(job.model, dataset, config.max_length)
    rows = [row for own in parts.named().values() for row in own]
    folder = Path(config.logs_dir).parent
    return probe(job, parts, dataset, encoder, config, rows=rows, folder=folder)


def shown(run: Planned, taken: RunEstimated) -> str:
    config, dataset, plan = run
    console = Console(file=StringIO(), width=200)
    show_plan(console, plan, config, dataset, taken)
    return console.file.getvalue()  # type: ignore[attr-defined]


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_probe_leaves_no_file_and_restores_threads_and_random_numbers(
    planned: MakePlan, tmp_path: Path
) -> None:
    run = planned(threads=1)
    before, threads, state = files(tmp_path), torch.get_num_threads(), torch.get_rng_state()

    found = probed(run)

    assert files(tmp_path) == before
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert found.token > 0
    assert found.step >= 0
    assert found.scored_token > 0
    assert found.save > 0
    assert found.load > 0
    assert found.memory > 50_000_000
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_probe_does_not_change_what_a_run_writes_after_it(
    planned: MakePlan, tmp_path: Path
) -> None:
    config, dataset, plan = planned()
    tables = []
    for name in ("without", "with"):
        if name == "with":
            estimate(plan, dataset, config)
        session = Session(tmp_path / name)
        run_plan(plan, dataset, config, session)
        folder = session.folder / "sentiment"
        tables += [read_metrics(folder / f"{t}.csv").drop(columns=TIMES, errors="ignore")
                   for t in ("training", "best")]  # fmt: skip

    assert tables[0].equals(tables[2])
    assert tables[1].equals(tables[3])


def test_texts_that_are_cut_are_counted_and_their_tokens_end_at_the_limit(
    planned: MakePlan, some_long: None
) -> None:
    config, dataset, plan = run = planned(max_length=10, long_documents="truncate")
    encoder = Encoder(plan.jobs[0].model, dataset, None)
    lengths = [len(ids) for ids in encoder.tokens.token_ids(range(60))]
    longer = sum(length > 10 for length in lengths)
    assert longer == 10

    taken = estimate(plan, dataset, config)
    found = probed(run)

    assert taken.long_texts == (LongTexts("tiny-bert", 10, longer, longer / 60, exact=True),)
    assert found.lengths.tolist() == [min(length, 10) for length in lengths]
    assert found.amount(range(60)) == (60, sum(min(length, 10) for length in lengths))
    said = f"{longer} texts ({100 * longer / 60:.1f} %) longer than 10 tokens are"
    assert f"{said} cut." in shown(run, taken)
    config, dataset, plan = run = planned(max_length=10, long_documents="exclude")
    assert f"{said} left out." in shown(run, estimate(plan, dataset, config))


def test_texts_that_are_read_in_windows_count_with_the_tokens_of_all_of_them(
    planned: MakePlan, some_long: None
) -> None:
    config, dataset, plan = run = planned(max_length=10, window_overlap=0.5)
    encoder = Encoder(plan.jobs[0].model, dataset, 10)
    lengths = [len(ids) for ids in encoder.tokens.windows(range(60), 0.5)]
    assert sum(length > 10 for length in lengths) == 10

    taken = estimate(plan, dataset, config)
    found = probed(run)

    assert [long.treatment for long in taken.long_texts] == ["chunk"]  # more than 5 % are longer
    assert from_json(to_json(taken)) == taken
    assert found.lengths.tolist() == lengths
    assert found.amount(range(60)) == (60, sum(lengths))
    said = "10 texts (16.7 %) longer than 10 tokens are read in windows that overlap by 50 %."
    why = "They are more than 5 %: --long-documents truncate would cut them."
    assert f"{said} {why}\n" in shown(run, taken)
    config, *rest = planned(max_length=10, window_overlap=0.5, long_documents="chunk")
    text = shown((config, *rest), taken)
    assert f"{said}\n" in text
    assert "Texts longer than the model takes are read in windows, and scored as a whole." in text


def test_a_few_long_texts_are_cut_and_the_plan_says_how_else(
    planned: MakePlan, tweets: Path
) -> None:
    lines = tweets.read_text().splitlines()
    lines[1:4] = [line.replace("the ", "the film and the book and the law ") for line in lines[1:4]]
    tweets.write_text("\n".join(lines) + "\n")
    config, dataset, plan = run = planned(max_length=12)

    taken = estimate(plan, dataset, config)

    assert [(long.texts, long.treatment) for long in taken.long_texts] == [(3, "truncate")]
    assert (
        "3 texts (5.0 %) longer than 12 tokens are cut. --long-documents chunk reads them whole.\n"
    ) in shown(run, taken)


def test_texts_that_are_left_out_are_neither_trained_nor_scored(
    planned: MakePlan, some_long: None
) -> None:
    found = probed(planned(max_length=10, long_documents="exclude"))

    kept, tokens = found.amount(range(60))
    assert kept == pytest.approx(50)
    assert tokens == found.lengths.sum() <= 10 * kept


def test_rows_that_were_not_sampled_count_as_the_others_on_average() -> None:
    lengths = np.array([4, 6, -1, -1, 0, -1], dtype=np.int32)
    found = replace(PROBE, lengths=lengths)

    assert found.amount([0, 1]) == (2, 10)
    assert found.amount([0, 1, 2, 3]) == (4, 20)
    assert found.amount([1, 4]) == (1, 6)  # one is left out
    assert found.amount([2, 3, 5]) == pytest.approx((2, 10))


PROBE = Probe(
    files=1.0, text=0.0, load=2.0, step=0.5, token=0.01, scored_token=0.001, save=0.1,
    memory=10**9, device="cpu", max_length=64, lengths=np.full(100, 10, dtype=np.int32),
    too_long=frozenset(),
)  # fmt: skip
PARTS = Parts(range(80), range(80, 90), range(90, 100))


def test_a_batch_that_was_held_up_does_not_spoil_the_estimate() -> None:
    batches = [(tokens, 0.02 + 0.001 * tokens) for tokens in (100, 300, 200, 400, 250)]
    assert _fitted(batches) == pytest.approx((0.02, 0.001))
    step, token = _fitted([*batches, (260, 5.0)])
    assert step + 250 * token == pytest.approx(0.27, rel=0.1)
    assert _fitted([(100, 0.2)]) == pytest.approx((0.0, 0.002))


def test_a_job_is_its_loading_its_epochs_and_what_it_writes() -> None:
    config = make_config({"epochs": 3, "batch_size": 16})

    # 80 texts of 10 tokens: 5 steps and 800 tokens; 100 tokens of each other part.
    training, scoring, saving = 5 * 0.5 + 800 * 0.01, 0.1, 0.1
    checkpoints = 3 * training / 100  # a hundredth of the time, and less where they take less
    expected = 2 + 3 * (training + scoring) + scoring + saving + checkpoints
    assert job_seconds(PROBE, PARTS, config) == pytest.approx(expected)
    quick = replace(PROBE, save=0.01)
    assert job_seconds(quick, PARTS, config) == pytest.approx(
        2 + 3 * (training + scoring) + scoring + 0.01 + 9 * 0.01
    )


def test_the_reinforced_phase_is_counted_at_its_longest() -> None:
    config = make_config({"epochs": 1, "batch_size": 16, "reinforced": True})

    normal = job_seconds(PROBE, PARTS, config)
    longest = job_seconds(PROBE, PARTS, config, reinforced=True)

    # Two more epochs in which every row is drawn twice, and checkpoints that take a hundredth.
    trained = 2 * 2 * (5 * 0.5 + 800 * 0.01)
    assert longest - normal == pytest.approx(1.01 * trained + 2 * 0.1)


def test_one_worker_takes_one_job_after_the_other_and_finds_each_model_once() -> None:
    jobs = [("a", 10.0), ("b", 20.0), ("a", 30.0)]
    assert schedule(jobs, {"a": 1.0, "b": 2.0}, 1) == 10 + 20 + 30 + 1 + 2


def test_two_workers_take_the_next_job_when_they_are_free() -> None:
    once = {"a": 1.0}
    assert schedule([("a", 10.0)] * 3, once, 2) == 10 + 10 + 1
    assert schedule([("a", 30.0), ("a", 10.0), ("a", 10.0)], once, 2) == 31
    assert schedule([("a", 5.0)], once, 2) == 6


def test_several_workers_are_probed_together_and_need_the_memory_of_all(
    planned: MakePlan, tmp_path: Path
) -> None:
    one, two = (
        estimate(plan, dataset, config)
        for config, dataset, plan in (
            planned(label=["sentiment", "topic"], workers=workers, threads=1) for workers in (1, 2)
        )
    )

    assert one.seconds
    assert two.seconds
    assert one.memory_bytes
    assert two.memory_bytes
    assert two.seconds > max(s or 0 for s in two.job_seconds) + 1  # the workers have to start
    assert two.memory_bytes > 1.5 * one.memory_bytes
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tweets.csv"]


def test_a_model_that_is_not_here_or_cannot_be_loaded_is_named_and_the_others_are_estimated(
    planned: MakePlan, tiny_bert: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bert, broken)
    config, dataset, plan = planned()
    (job,) = plan.jobs
    others = (
        replace(job, model="somebody/unknown", model_name="somebody/unknown"),
        replace(job, model=str(broken), model_name="broken"),
    )
    plan = replace(plan, jobs=(job, *others), parts=plan.parts * 3)
    (broken / "model.safetensors").write_bytes(b"damaged")

    taken = estimate(plan, dataset, config)

    assert taken.seconds == pytest.approx(taken.seconds_at_most)
    assert taken.seconds
    assert [seconds is not None for seconds in taken.job_seconds] == [True, False, False]
    assert taken.unknown[0] == ("somebody/unknown", "not on this machine yet")
    assert taken.unknown[1][0] == "broken"
    text = shown((config, dataset, plan), taken)
    assert "as measured on this machine, without broken, somebody/unknown." in text
    assert "How long somebody/unknown takes is not known: not on this machine yet." in text
    assert "How long broken takes is not known: " in text


def test_an_accident_in_a_probe_does_not_keep_the_plan_from_being_shown(
    planned: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("llm_tool.trainers.probe.prepare_job", fail)
    config, dataset, plan = planned()

    taken = estimate(plan, dataset, config)

    assert (taken.seconds, taken.memory_bytes, taken.job_seconds) == (None, None, (None,))
    assert from_json(to_json(taken)) == taken
    text = shown((config, dataset, plan), taken)
    assert "How long tiny-bert takes is not known: MemoryError: no more." in text
    assert "About" not in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "10 s"), (36.2, "36 s"), (59.8, "1 min"), (114, "1 min 50 s"), (372, "6 min 10 s"),
     (1530, "26 min"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_an_estimate_is_said_no_more_exactly_than_it_is(seconds: float, said: str) -> None:
    assert about(seconds) == said


def test_a_dry_run_says_what_the_run_takes_in_text_and_as_json(
    tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "llm_tool", "train", "quick", "tweets.csv", "-l", "topic",
               "-m", str(tiny_bert), "--dry-run"]  # fmt: skip
    text, lines = (
        subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True, check=True)
        for more in ((), ("--json",))
    )

    assert re.search(r"^About \d+ s, ", text.stdout, re.M)
    assert "of memory, as measured on this machine." in text.stdout
    assert re.search(r"^About \d+ s, ", lines.stderr, re.M)
    started, taken = map(json.loads, lines.stdout.splitlines())
    assert (started["event"], taken["event"]) == ("run_started", "run_estimated")
    assert len(taken["job_seconds"]) == len(started["jobs"]) == 1
    assert 0 < taken["job_seconds"][0] <= taken["seconds"] < 60
    assert taken["memory_bytes"] > 50_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["tweets.csv"]


def test_the_studio_shows_it_before_it_asks_whether_to_start(
    tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    terminal = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=tmp_path)
    try:
        answer_up_to_epochs(terminal, tiny_bert)
        terminal.answer("How many epochs?", "1")
        terminal.answer("Work on weak classes after training?")
        text = terminal.wait_for("Start?")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
    finally:
        terminal.close()

    plan = text[text.index("─ Plan ─") : text.index("Same thing without")]
    assert re.search(r"^About \d+ s, ", plan, re.M)
    assert "Measuring" in terminal.raw
    assert "Measuring" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["tweets.csv"]
