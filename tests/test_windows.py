"""Texts longer than the model takes: cut, left out, or read in windows and scored as a whole."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import AutoModelForSequenceClassification, AutoTokenizer, CanineTokenizer

from llm_tool.config import TrainingSettings, make_config
from llm_tool.data.tokens import Examples, JobData, TokenStore, micro_batches, pad
from llm_tool.data.windows import Frame, Windows, frame_of, split_windows, treatment
from llm_tool.errors import StudioError
from llm_tool.events import BatchEnded, Event, JobEnded, JobStarted
from llm_tool.execution.local import run_plan
from llm_tool.logs import Session
from llm_tool.logs.summary import long_texts
from llm_tool.modes.planning import prepare
from llm_tool.plan import Job
from llm_tool.trainers.bert_base import train_epochs
from llm_tool.trainers.checkpoint import Progress
from llm_tool.trainers.forward import predict_logits
from llm_tool.trainers.pretrained import load_tokenizer
from llm_tool.trainers.reinforcement import normal_course
from llm_tool.trainers.steps import make_steps
from tests.conftest import WORDS
from tests.test_bert_base import TASK, Trainer, watched

WINDOW = 16  # tokens of a window in these tests
LENGTHS = [3, 40, 14, 15, 90, 7, 28, 1]  # words of the texts; with two special tokens around each
LONG_TEXTS = [
    " ".join(random.Random(f"{number} {length}").choices(WORDS, k=length))
    for number, length in enumerate(LENGTHS * 3)
]


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> Any:  # noqa: ANN401
    return load_tokenizer(tiny_bert)[0]


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


def int32(numbers: Any) -> np.ndarray:  # noqa: ANN401
    return np.asarray(list(numbers), dtype=np.int32)


def examples(
    tokenizer: Any,  # noqa: ANN401
    label: Callable[[int], Any] = lambda row: row % 2,
    rows: range = range(24),
    overlap: float = 0.25,
) -> Examples:
    """Return texts of very different lengths, the long ones in windows."""
    store = TokenStore(tokenizer, LONG_TEXTS, WINDOW)
    return Examples(
        store.windows(rows, overlap),
        np.array([label(row) for row in rows], dtype=np.int64),
        ["EN"] * len(rows),
        rows,
        [f"t{row}" for row in rows],
        window_length=WINDOW,
    )


@given(
    words=st.integers(1, 200),
    special=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    window=st.integers(8, 40),
    overlap=st.floats(0, 1, exclude_max=True),
)
def test_every_token_is_in_a_window_and_each_begins_with_the_end_of_the_one_before(
    words: int, special: tuple[int, int], window: int, overlap: float
) -> None:
    frame = Frame(int32([-1] * special[0]), int32([-2] * special[1]))
    room = window - sum(special)
    words = max(words, room + 1)
    whole = np.concatenate([frame.before, int32(range(words)), frame.after])

    flat = frame.cut(whole, window, overlap)
    windows = split_windows([flat], window).token_ids

    shared = min(int(overlap * room), room - 1)
    inner = [ids[special[0] : len(ids) - special[1]].tolist() for ids in windows]
    assert all(len(ids) == window for ids in windows[:-1])
    assert len(windows[-1]) <= window
    assert {tuple(ids[: special[0]].tolist()) for ids in windows} == {(-1,) * special[0]}
    assert {tuple(ids[len(ids) - special[1] :].tolist()) for ids in windows} == {(-2,) * special[1]}
    for before, after in pairwise(inner):
        assert after[:shared] == before[len(before) - shared :]
        assert after[shared:][:1] == [before[-1] + 1]  # never one that brings nothing new
    assert [*inner[0], *(t for own in inner[1:] for t in own[shared:])] == list(range(words))


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_the_windows_are_those_that_transformers_cuts(tokenizer: Any, overlap: float) -> None:  # noqa: ANN401
    stride = int(overlap * (WINDOW - 2))
    expected = tokenizer(
        LONG_TEXTS,
        truncation=True,
        max_length=WINDOW,
        stride=stride,
        return_overflowing_tokens=True,
    )

    windows = examples(tokenizer, overlap=overlap).windows

    assert [ids.tolist() for ids in windows.token_ids] == expected["input_ids"]
    assert windows.documents.tolist() == expected["overflow_to_sample_mapping"]


def test_tokenizers_that_are_not_in_rust_have_windows_too() -> None:
    tokenizer = CanineTokenizer()
    assert not tokenizer.is_fast
    store = TokenStore(tokenizer, ["abcdefghij"], max_length=8)

    (flat,) = store.windows([0], overlap=0.5)

    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert [ids.tolist() for ids in split_windows([flat], 8).token_ids] == [
        [cls, *map(ord, part), sep] for part in ("abcdef", "defghi", "ghij")
    ]


def test_texts_that_fit_stay_as_they_are_and_are_the_same_arrays(tokenizer: Any) -> None:  # noqa: ANN401
    store = TokenStore(tokenizer, LONG_TEXTS, WINDOW)
    long = store.too_long(range(24))
    assert [LENGTHS[row % 8] for row in sorted(long)] == [40, 15, 90, 28] * 3

    for row in sorted(set(range(24)) - long):
        assert store.windows([row], 0.25)[0] is store.token_ids([row])[0]


def test_without_special_tokens_or_with_them_on_one_side_only_a_frame_is_found() -> None:
    text = int32([5, 1, 7])
    for before, after in (([], []), ([1], []), ([], [2]), ([1], [2]), ([1, 1], [2, 2])):
        frame = frame_of(int32([*before, *text, *after]), text)
        assert (frame.before.tolist(), frame.after.tolist()) == (before, after)


def test_special_tokens_within_a_text_are_refused_with_what_to_do() -> None:
    with pytest.raises(StudioError, match="special tokens around a text") as caught:
        frame_of(int32([1, 5, 3, 6, 2]), int32([5, 6]))
    assert "--long-documents truncate" in caught.value.remedy


def test_the_windows_of_texts_come_in_the_order_of_the_texts() -> None:
    windows = Windows([int32([0])] * 6, np.array([0, 1, 1, 1, 2, 2]))

    assert windows.of([2, 0, 1, 2]).tolist() == [4, 5, 0, 1, 2, 3, 4, 5]
    assert windows.of([]).tolist() == []
    assert windows.shares.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])


def test_the_outputs_of_a_text_are_the_means_of_its_windows() -> None:
    windows = Windows([int32([0])] * 4, np.array([0, 1, 1, 2]))
    logits = np.array([[1, 2], [3, 0], [5, 1], [7, 7]], dtype=np.float32)

    assert windows.aggregate(logits).tolist() == [[1, 2], [4, 0.5], [7, 7]]
    assert windows.aggregate(logits).dtype == np.float32
    nothing = split_windows([], WINDOW)
    assert nothing.aggregate(np.zeros((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize(
    ("asked", "long", "texts", "expected"),
    [
        (None, 0, 0, "truncate"),
        (None, 5, 100, "truncate"),
        (None, 6, 100, "chunk"),
        ("truncate", 100, 100, "truncate"),
        ("exclude", 1, 100, "exclude"),
        ("chunk", 0, 100, "chunk"),
    ],
)
def test_what_is_not_asked_for_follows_from_the_share_that_would_be_cut(
    asked: Any,  # noqa: ANN401
    long: int,
    texts: int,
    expected: str,
) -> None:
    assert treatment(asked, long, texts) == expected


def test_the_command_says_how_long_texts_are_read() -> None:
    config = make_config({"long_documents": "chunk", "window_overlap": 0.5})

    words = config.command()

    assert words[4:] == ["--long-documents", "chunk", "--set", "window_overlap=0.5"]
    with pytest.raises(StudioError, match="window_overlap"):
        make_config({"window_overlap": 1})


def gradients(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    train: Examples,
    weights: np.ndarray,
    token_budget: int,
) -> dict[str, torch.Tensor]:
    """Return the gradients of one batch of all texts, as the training has them."""
    seen: dict[str, torch.Tensor] = {}

    def keep(*_: object) -> None:
        seen.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    handle = register_optimizer_step_pre_hook(keep)
    settings = TrainingSettings(epochs=1, batch_size=99, learning_rate=1e-5, max_grad_norm=1e9)
    course = replace(normal_course(train, settings), weights=weights)
    steps = make_steps(model, course, settings)
    list(
        train_epochs(
            model, tokenizer, train, course, settings, Job(TASK, "m", "m", seed=1), lambda _: None,
            steps=steps, progress=Progress(token_budget, "float32"),
        )
    )  # fmt: skip
    handle.remove()
    return seen


@pytest.mark.parametrize("token_budget", [16, 64, 300, 100_000])
@pytest.mark.parametrize(
    "label", [lambda row: row % 2, lambda row: (row % 2, row % 3 == 0)], ids=["classes", "labels"]
)
def test_every_text_counts_once_in_the_gradient_however_it_is_cut_up(
    trainer: Trainer,
    tokenizer: Any,  # noqa: ANN401
    label: Callable[[int], Any],
    token_budget: int,
) -> None:
    train = examples(tokenizer, label)
    assert train.windows.counts.max() > 5
    pieces = micro_batches(range(len(train.windows.lengths)), train.windows.lengths, token_budget)
    assert (len(pieces) > 1) == (token_budget < 1000)
    model = trainer.model(sure=True, dropout=False, multi_label=train.labels.ndim > 1)
    whole = copy.deepcopy(model)
    weights = np.where(train.labels == 1, 3, 1).astype(np.float32)

    # By hand, in one piece: the mean over the windows of each text, then over the texts.
    ids, mask = map(torch.from_numpy, pad(train.windows.token_ids, tokenizer.pad_token_id))
    logits = whole(input_ids=ids, attention_mask=mask).logits
    labels, weighs = torch.from_numpy(train.labels), torch.from_numpy(weights)
    total = 0.0
    for text in range(len(train)):
        own = logits[[int(i) for i in train.windows.of([text])]]
        if labels.ndim == 1:
            each = cross_entropy(own, labels[text].expand(len(own)), reduction="none")
        else:
            truth = labels[text].float().expand(len(own), -1)
            each = binary_cross_entropy_with_logits(own, truth, reduction="none")
        total = total + each.mean(dim=0) * weighs[text] / weighs.sum(dim=0)
    total.mean().backward()  # type: ignore[attr-defined]

    seen = gradients(model, tokenizer, train, weights, token_budget)

    assert max(float(gradient.abs().max()) for gradient in seen.values()) > 1e-3
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(seen[name], parameter.grad, atol=1e-5, rtol=0, msg=name)


def test_a_batch_is_so_many_texts_and_its_tokens_are_those_of_all_windows(
    trainer: Trainer,
    tokenizer: Any,  # noqa: ANN401
) -> None:
    train = examples(tokenizer)
    trainer.train(data=JobData(train, train, train), epochs=1, batch_size=6)

    batches = trainer.heard(BatchEnded)
    assert len(batches) == 4
    assert batches[-1].tokens == train.windows.lengths.sum() > 24 * WINDOW


def test_outputs_do_not_depend_on_what_a_text_is_predicted_with(
    trainer: Trainer,
    tokenizer: Any,  # noqa: ANN401
) -> None:
    model, every = trainer.model(), examples(tokenizer)
    together = predict_logits(model, tokenizer, every)

    assert together.shape == (24, 2)
    for row in (0, 1, 4, 6):
        alone = predict_logits(model, tokenizer, examples(tokenizer, rows=range(row, row + 1)))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


@dataclass
class Corpus:
    """A corpus of which the deciding words come late, and a folder to train on it."""

    path: Path
    model: Path
    folder: Path

    def run(self, **settings: object) -> tuple[list[Event], Path]:
        """Train; return what was told and the session's folder."""
        config = make_config(
            {
                "data": str(self.path),
                "label": "mood",
                "model": str(self.model),
                "max_length": 32,
                "threads": 1,
                "workers": 1,
                "precision": "float32",
                "logs_dir": str(self.folder / "logs"),
                "models_dir": str(self.folder / "models"),
                **settings,
            }
        )
        dataset, plan = prepare(config)
        session, told = Session(config.logs_dir), []
        run_plan(plan, dataset, config, session, told.append)
        return told, session.folder


def long_text(rng: random.Random, word: str) -> str:
    """Return 100 to 200 words; after the first forty every fifth or so is the deciding one."""
    other = WORDS[10:]
    length = rng.randint(100, 200)
    return " ".join(
        word if place > 40 and rng.random() < 0.2 else rng.choice(other) for place in range(length)
    )


@pytest.fixture
def corpus(tmp_path: Path, tiny_bert: Path) -> Corpus:
    rng = random.Random(1)
    rows = [(long_text(rng, ("good", "bad")[i % 2]), ("up", "down")[i % 2]) for i in range(240)]
    path = tmp_path / "speeches.csv"
    pd.DataFrame(rows, columns=["text", "mood"]).to_csv(path, index=False)
    return Corpus(path, tiny_bert, tmp_path)


def one(told: list[Event], kind: type[Any]) -> Any:  # noqa: ANN401
    (event,) = [event for event in told if isinstance(event, kind)]
    return event


def test_windows_learn_from_long_documents_what_a_cut_takes_away(corpus: Corpus) -> None:
    scores = {}
    for how in ("truncate", "chunk"):
        told, _ = corpus.run(long_documents=how, epochs=5, batch_size=8, learning_rate=1e-2)
        scores[how] = one(told, JobEnded).test.f1_macro

    assert scores["truncate"] < 0.65  # the first 30 words say nothing
    assert scores["chunk"] > 0.9
    assert scores["chunk"] > scores["truncate"] + 0.3


def shorten(path: Path, share: float) -> None:
    """Leave a share of the texts long, and make the others short."""
    table = pd.read_csv(path)
    short = np.arange(len(table)) >= share * len(table)
    table.loc[short, "text"] = table.loc[short, "text"].map(lambda t: " ".join(t.split()[-12:]))
    table["text"] += [f" {WORDS[i % 30]} {WORDS[i // 30]}" for i in range(len(table))]  # no twins
    table.sample(frac=1, random_state=1).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("asked", "counts", "rows", "said"),
    [
        ("truncate", {"cut": 24}, 240, "cut"),
        ("exclude", {"excluded": 24}, 216, "left out"),
        ("chunk", {"chunked": 24}, 240, "in windows"),
        (None, {"chunked": 24}, 240, "in windows"),
    ],
)
def test_long_texts_are_cut_left_out_or_read_in_windows_and_counted(
    corpus: Corpus, asked: str | None, counts: dict[str, int], rows: int, said: str
) -> None:
    shorten(corpus.path, 0.1)

    told, folder = corpus.run(epochs=1, **({"long_documents": asked} if asked else {}))

    started, ended = one(told, JobStarted), one(told, JobEnded)
    told_counts = {name: getattr(started, name) for name in ("cut", "excluded", "chunked")}
    assert told_counts == {"cut": 0, "excluded": 0, "chunked": 0} | counts
    assert long_texts(started) == f"24 texts over 32 tokens {said}"
    assert started.train_rows + started.validation_rows + started.test_rows == rows
    split = pd.read_parquet(folder / "mood" / "runs" / "j0001" / "split.parquet")
    assert len(split) == split["row"].nunique() == rows
    settings = json.loads((Path(ended.saved_model_path) / "training.json").read_text())["settings"]
    assert settings["long_documents"] == (asked or "chunk")
    assert (settings["max_length"], settings["window_overlap"]) == (32, 0.25)


def test_a_few_long_texts_are_cut_unless_windows_are_asked_for(corpus: Corpus) -> None:
    shorten(corpus.path, 0.05)

    told, _ = corpus.run(epochs=1)

    assert (one(told, JobStarted).cut, one(told, JobStarted).chunked) == (12, 0)


def test_a_document_has_one_prediction_and_it_is_the_mean_over_its_windows(
    corpus: Corpus,
) -> None:
    told, folder = corpus.run(long_documents="chunk", window_overlap=0.5, epochs=1)

    ended = one(told, JobEnded)
    recorded = pd.read_parquet(folder / "mood" / "runs" / "j0001" / "predictions.parquet")
    assert recorded["row"].is_unique
    assert set(recorded["part"]) == {"validation", "test"}
    assert (
        ended.test.classes[0].support + ended.test.classes[1].support
        == (recorded["part"] == "test").sum()
    )
    texts = pd.read_csv(corpus.path)["text"]
    tokenizer = AutoTokenizer.from_pretrained(ended.saved_model_path)
    model = AutoModelForSequenceClassification.from_pretrained(ended.saved_model_path)
    for row in recorded.sample(8, random_state=1).itertuples():
        windows = tokenizer(
            texts[row.row], truncation=True, max_length=32, stride=15, padding=True,
            return_overflowing_tokens=True, return_tensors="pt",
        )  # fmt: skip
        windows.pop("overflow_to_sample_mapping")
        assert len(windows["input_ids"]) > 5
        with torch.inference_mode():
            shares = torch.softmax(model(**windows).logits.mean(dim=0), dim=0)
        own = [getattr(row, f"probability_{name}") for name in model.config.id2label.values()]
        np.testing.assert_allclose(own, shares.numpy(), atol=1e-5)


def test_training_in_windows_gives_the_same_numbers_again(corpus: Corpus) -> None:
    ends = [one(corpus.run(epochs=2, learning_rate=1e-2)[0], JobEnded) for _ in range(2)]

    assert ends[0].best.val_loss == ends[1].best.val_loss
    assert ends[0].test == ends[1].test
