"""How much disk a run takes, estimated before it starts."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, Event
from llm_tool.execution.space import check_space, in_bytes, needed
from llm_tool.plan import Job, Task
from llm_tool.trainers.checkpoint import CHECKPOINT
from llm_tool.trainers.model_sources import parameter_count
from tests.test_local_run import Runner

TASK = Task("sentiment", "", ("a", "b"))
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def runner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Runner:
    return Runner(tmp_path, tweets, (f"EN={tiny_bert}", f"FR={tiny_bert}"))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def set_free(free: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 0, free))

    return set_free


def test_a_model_is_as_large_as_its_weights_or_as_the_catalogue_says(tiny_bert: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    assert parameter_count(str(tiny_bert)) == model.num_parameters()
    assert parameter_count("google-bert/bert-base-uncased") == pytest.approx(110e6, rel=0.02)
    assert parameter_count("somebody/unknown") is None


def test_models_add_up_and_each_worker_has_a_checkpoint(tiny_bert: Path) -> None:
    size = 4 * (parameter_count(str(tiny_bert)) or 0)
    jobs = [Job(TASK, str(tiny_bert), "tiny") for _ in range(6)]

    one, three = (needed(jobs, make_config({"workers": n})) for n in (1, 3))
    assert (one.models, three.models) == (6 * size, 6 * size)
    assert (one.checkpoints, three.checkpoints) == (7 * size, 3 * 7 * size)


def test_no_run_takes_more_than_was_estimated(runner: Runner, tiny_bert: Path) -> None:
    largest = 0

    def measure(event: Event) -> None:
        nonlocal largest
        if isinstance(event, EpochEnded):
            files = (runner.folder / "logs").glob(f"*/*/runs/*/{CHECKPOINT}/*")
            largest = max(largest, sum(path.stat().st_size for path in files))

    runner.run(measure, epochs=4, learning_rate=1e-2)

    size = 4 * (parameter_count(str(tiny_bert)) or 0)
    # Between epochs; while one is written, the state before it is still there.
    assert 2 * size < largest < 1.5 * 4 * size  # tiny tensors have large names


def test_a_run_that_cannot_fit_is_refused_and_leaves_nothing(
    runner: Runner, disk: Callable[[int], None], tiny_bert: Path
) -> None:
    size = 4 * (parameter_count(str(tiny_bert)) or 0)
    disk(2 * size + 7 * size - 1)

    with pytest.raises(StudioError, match="not enough space: the run writes up to") as caught:
        runner.run()
    assert "--models-dir" in caught.value.remedy
    assert not (runner.folder / "logs").exists()

    disk(2 * size + 7 * size)
    assert len(runner.run().done) == 2


def test_logs_and_models_on_two_disks_are_looked_at_apart(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk here")
    size = 4 * (parameter_count(str(tiny_bert)) or 0)
    free = {tmp_path: 7 * size, other: 1}
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, free[Path(path)]))
    config = make_config({"models_dir": str(other)})

    with pytest.raises(StudioError, match="not enough space") as caught:
        check_space([Job(TASK, str(tiny_bert), "tiny")], config, tmp_path)
    assert caught.value.where == str(other)


@pytest.mark.parametrize(
    ("size", "said"), [(1, "1 MB"), (90_000_000, "90 MB"), (1_300_000_000, "1.3 GB")]
)
def test_sizes_are_said_as_people_do(size: int, said: str) -> None:
    assert in_bytes(size) == said
