"""Token ids and the batches made of them: every example once, within the budget."""

from __future__ import annotations

import json
import shutil
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tool.config import make_config
from llm_tool.data.dataset import load_dataset
from llm_tool.data.tokens import (
    Examples,
    TokenStore,
    draw_count,
    draw_rows,
    micro_batches,
    pad,
    shuffled_batches,
)
from llm_tool.trainers.model_trainer import Encoder, Stores

lengths_of = st.lists(st.integers(1, 64), max_size=80).map(lambda n: np.asarray(n, dtype=np.int64))


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> Any:  # noqa: ANN401
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_bert)


@given(lengths=lengths_of, budget=st.integers(1, 300))
def test_every_example_is_in_one_piece_and_the_budget_is_kept(
    lengths: np.ndarray, budget: int
) -> None:
    pieces = micro_batches(range(len(lengths)), lengths, budget)
    assert sorted(i for piece in pieces for i in piece) == list(range(len(lengths)))
    for piece in pieces:
        assert len(piece) == 1 or len(piece) * lengths[piece].max() <= budget
    widths = [lengths[piece].max() for piece in pieces]
    assert widths == sorted(widths)


@given(lengths=lengths_of.map(lambda n: n[:8]), budget=st.integers(32, 300))
def test_no_other_way_to_cut_a_batch_takes_less(lengths: np.ndarray, budget: int) -> None:
    def takes(pieces: list[list[int]]) -> float:
        """Return padded tokens and a share of the budget for each piece; infinite if too large."""
        padded = [len(piece) * max(piece) for piece in pieces]
        fits = all(len(p) == 1 or own <= budget for p, own in zip(pieces, padded, strict=True))
        return sum(padded) + len(pieces) * budget / 16 if fits else float("inf")

    widths = sorted(map(int, lengths))
    inner = range(1, len(widths))
    cuts = [places for n in range(len(widths)) for places in combinations(inner, n)] or [()]
    ways = [[widths[i:j] for i, j in pairwise((0, *own, len(widths)))] for own in cuts]
    chosen = micro_batches(range(len(lengths)), lengths, budget)

    assert takes([lengths[piece].tolist() for piece in chosen]) == pytest.approx(
        min(takes(way) for way in ways) if widths else 0
    )


def test_only_the_examples_of_the_order_are_cut_up_and_by_length() -> None:
    lengths = np.asarray([9, 1, 5, 5, 30, 2])
    pieces = micro_batches([4, 0, 3, 2, 5], lengths, token_budget=10)
    assert [piece.tolist() for piece in pieces] == [[5], [3, 2], [0], [4]]
    assert micro_batches(range(0), lengths, token_budget=10) == []


@given(examples=st.integers(0, 100), batch_size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_an_epoch_has_every_example_once_in_batches_of_one_size(
    examples: int, batch_size: int, seed: int
) -> None:
    lengths = np.random.default_rng(0).integers(1, 99, examples)
    batches = list(shuffled_batches(lengths, batch_size, np.random.default_rng(seed)))
    assert sorted(i for batch in batches for i in batch) == list(range(examples))
    assert sum(len(batch) != batch_size for batch in batches) == (examples % batch_size > 0)
    again = shuffled_batches(lengths, batch_size, np.random.default_rng(seed))
    assert [b.tolist() for b in batches] == [b.tolist() for b in again]


def test_the_order_changes_from_epoch_to_epoch() -> None:
    rng = np.random.default_rng(1)
    lengths = np.arange(50)
    one, other = (np.concatenate(list(shuffled_batches(lengths, 8, rng))) for _ in range(2))
    assert one.tolist() != other.tolist()


def test_batches_of_similar_length_need_little_padding() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(10, 200, 3200)
    batches = list(shuffled_batches(lengths, 32, rng))
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    assert padded < 1.2 * lengths.sum()  # unsorted: 1.9


draws_of = st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.25, 3.7]), max_size=60).map(np.asarray)


@given(draws=draws_of, seed=st.integers(0, 2**32))
def test_a_row_is_drawn_as_often_as_its_number_says_and_never_once_more_than_that(
    draws: np.ndarray, seed: int
) -> None:
    rows = draw_rows(draws, np.random.default_rng(seed))
    times = np.bincount(rows, minlength=len(draws))
    assert len(rows) == draw_count(draws)
    assert np.isin(times - np.floor(draws), (0, 1)).all()
    assert (times[draws == np.floor(draws)] == draws[draws == np.floor(draws)]).all()
    assert abs(len(rows) - draws.sum()) <= 0.5 + 1e-9


def test_parts_of_a_draw_come_true_over_many_epochs() -> None:
    rng = np.random.default_rng(1)
    draws = np.array([1.0, 1.5, 1.5, 2.5, 2.5, 3.0])
    times = [np.bincount(draw_rows(draws, rng), minlength=6) for _ in range(2000)]
    assert np.mean(times, axis=0) == pytest.approx(draws, abs=0.05)


def test_whole_draws_leave_chance_untouched() -> None:
    rng = np.random.default_rng(1)
    assert draw_rows(np.array([1.0, 3.0, 1.0]), rng).tolist() == [0, 1, 1, 1, 2]
    assert rng.random() == np.random.default_rng(1).random()


def test_ids_are_padded_on_the_right_and_the_mask_covers_what_is_not_padding() -> None:
    ids, mask = pad([np.asarray(x, np.int32) for x in ([5, 6, 7], [8], [0, 9])], pad_id=0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0], [0, 9, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert ids.dtype == mask.dtype == np.int64


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=20), min_size=1, max_size=10))
def test_the_mask_gives_back_what_was_padded(sequences: list[list[int]]) -> None:
    ids, mask = pad([np.asarray(s, np.int32) for s in sequences], pad_id=7)
    assert ids.shape == mask.shape == (len(sequences), max(map(len, sequences)))
    assert [row[own == 1].tolist() for row, own in zip(ids, mask, strict=True)] == sequences


def test_texts_become_ids_with_the_special_tokens_around_them(tokenizer: Any) -> None:  # noqa: ANN401
    store = TokenStore(tokenizer, ["the film was good", "unheard words", "LE FILM"], max_length=16)
    words = [tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in store.token_ids([0, 1, 2])]
    assert words == [
        ["[CLS]", "the", "film", "was", "good", "[SEP]"],
        ["[CLS]", "[UNK]", "[UNK]", "[SEP]"],
        ["[CLS]", "le", "film", "[SEP]"],
    ]


def test_rows_come_back_in_the_order_asked_and_are_tokenised_once(tokenizer: Any) -> None:  # noqa: ANN401
    calls: list[int] = []

    def counting(texts: list[str], **options: object) -> object:
        calls.append(len(texts))
        return tokenizer(texts, **options)

    texts = ["good", "bad film", "the law was fine", "vote"]
    store = TokenStore(counting, texts, max_length=16)
    first = store.token_ids([2, 0])
    again = store.token_ids([0, 1, 2, 2])
    assert calls == [2, 1]
    assert again[0] is first[1]
    assert [len(ids) for ids in again] == [3, 4, 6, 6]
    assert store.token_ids([]) == []


def test_longer_texts_are_cut_keep_their_last_special_token_and_are_counted(
    tokenizer: Any,  # noqa: ANN401
) -> None:
    texts = ["good " * 5, "good " * 6, "good " * 7, "good " * 1000]
    store = TokenStore(tokenizer, texts, max_length=8)
    ids = store.token_ids(range(4))
    assert [len(one) for one in ids] == [7, 8, 8, 8]
    assert {one[-1] for one in ids} == {tokenizer.sep_token_id}
    assert store.too_long(range(4)) == {2, 3}
    assert store.too_long([0, 1, 3]) == {3}


def test_which_texts_are_too_long_can_be_asked_before_their_tokens(tokenizer: Any) -> None:  # noqa: ANN401
    store = TokenStore(tokenizer, ["good " * 7, "good", "good " * 6], max_length=8)
    assert store.too_long([1, 0, 2]) == {0}
    assert store.too_long([1]) == set()


@pytest.mark.parametrize("text", ["x" * 100_000, "\x01\x02", "� \u202e", "👍" * 50, "."])
def test_strange_texts_have_ids_too(tokenizer: Any, text: str) -> None:  # noqa: ANN401
    ids = TokenStore(tokenizer, [text], max_length=16).token_ids([0])[0]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert ids.dtype == np.int32


def test_more_rows_than_one_call_takes_are_all_tokenised(tokenizer: Any) -> None:  # noqa: ANN401
    texts = [("good", "good film")[i % 2] for i in range(4_100)]
    lengths = [len(ids) for ids in TokenStore(tokenizer, texts, 16).token_ids(range(4_100))]
    assert lengths == [3, 4] * 2_050


def test_examples_know_their_lengths() -> None:
    ids = [np.asarray(x, np.int32) for x in ([1, 2], [3], [4, 5, 6])]
    examples = Examples(ids, np.asarray([0, 1, 0]), ["", "", ""], [7, 8, 9], ["a", "b", "c"])
    assert len(examples) == 3
    assert examples.lengths.tolist() == [2, 1, 3]


def test_models_with_the_same_tokenizer_share_the_tokens_of_the_texts(
    tiny_bert: Path, tmp_path: Path, tweets: Path
) -> None:
    other, unlike = tmp_path / "other", tmp_path / "unlike"
    for copy in (other, unlike):
        shutil.copytree(tiny_bert, copy)
    settings = json.loads((unlike / "tokenizer_config.json").read_text("utf-8"))
    settings["do_lower_case"] = False
    (unlike / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    dataset = load_dataset(make_config({"data": str(tweets), "label": "sentiment"}))
    stores: Stores = {}

    def tokens(model: Path, max_length: int | None = None) -> TokenStore:
        return Encoder(str(model), dataset, max_length, stores).tokens

    assert tokens(tiny_bert) is tokens(other)
    assert tokens(tiny_bert) is not tokens(unlike)
    assert tokens(tiny_bert) is not tokens(tiny_bert, 8)  # others are cut
    assert Encoder(str(other), dataset, None).tokens is not tokens(other)
