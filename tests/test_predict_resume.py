"""A prediction that is interrupted loses no row, and one of any size takes the same memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_tool.errors import StudioError
from llm_tool.inference.facts import PredictionEvent
from llm_tool.inference.prediction import predict
from llm_tool.inference.request import Request
from tests.predicting import run_request, write_tweets

ROWS, CHUNK = 1_600, 400  # chunks of 499 (a batch, but for the header), 500, 500 and 101 rows
_PREDICT = """
import sys
from llm_tool.inference.prediction import predict
from llm_tool.inference.request import Request
model, data, out, rows = sys.argv[1:]
def tell(event):
    if event.event == "rows_predicted": print(event.kept, flush=True)
predict(Request((model,), data, out), tell, chunk_rows=int(rows))
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tweets(tmp_path_factory.mktemp("tables") / "in.csv", ROWS)


@pytest.fixture(scope="module")
def undisturbed(table: Path, tiny_bert: Path) -> dict[str, bytes]:
    """Return what each format holds when nothing interrupts."""
    written = {}
    for ending in (".csv", ".jsonl", ".parquet"):
        out = table.with_name(f"whole{ending}")
        run_request([tiny_bert], table, out, chunk_rows=CHUNK)
        written[ending] = out.read_bytes()
    return written


def stop_after(model: Path, data: Path, out: Path, kept: int) -> None:
    """Predict until so many rows are kept, then press Ctrl-C."""

    def stop(event: PredictionEvent) -> None:
        if event.event == "rows_predicted" and event.kept >= kept:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(Request((str(model),), str(data), str(out)), stop, chunk_rows=CHUNK)


def test_a_kill_in_the_middle_loses_no_row_and_repeats_none(
    table: Path, tiny_bert: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out = tmp_path / "out.csv"
    words = [sys.executable, "-c", _PREDICT, str(tiny_bert), str(table), str(out), str(CHUNK)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 499:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    finished = sorted((tmp_path / ".out.csv.parts").glob("0*.csv"))
    assert finished

    _, seen = run_request([tiny_bert], table, out, chunk_rows=CHUNK)
    assert seen[0].done == 499 + 500 * (len(finished) - 1)
    assert out.read_bytes() == undisturbed[".csv"]
    numbers = [line.split(",")[0] for line in out.read_text("utf-8").splitlines()[1:]]
    assert numbers == [str(i) for i in range(ROWS)]
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_every_format_goes_on_where_it_was_stopped(
    table: Path, tiny_bert: Path, tmp_path: Path, undisturbed: dict[str, bytes], ending: str
) -> None:
    out = tmp_path / f"out{ending}"
    stop_after(tiny_bert, table, out, 999)
    ended, seen = run_request([tiny_bert], table, out, chunk_rows=CHUNK)
    assert seen[0].done == 999
    assert out.read_bytes() == undisturbed[ending]
    assert ended.tally.rows == sum(ended.tally.labels["tiny-bert"].values()) == ROWS


def test_rows_that_were_torn_are_predicted_again(
    table: Path, tiny_bert: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out = tmp_path / "out.csv"
    stop_after(tiny_bert, table, out, 999)
    (tmp_path / ".out.csv.parts" / "000001.json").write_text('{"rows": 5', "utf-8")
    _, seen = run_request([tiny_bert], table, out, chunk_rows=CHUNK)
    assert seen[0].done == 499
    assert out.read_bytes() == undisturbed[".csv"]


def test_what_belongs_to_other_data_or_another_model_is_not_gone_on_with(
    table: Path, tiny_bert: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    data, out = tmp_path / "in.csv", tmp_path / "out.csv"
    data.write_bytes(table.read_bytes() + b"1600,good film,\n")
    stop_after(tiny_bert, data, out, 499)
    data.write_bytes(table.read_bytes())
    with pytest.raises(StudioError, match="of other data") as caught:
        run_request([tiny_bert], data, out, chunk_rows=CHUNK)
    assert "--overwrite" in caught.value.remedy
    with pytest.raises(StudioError, match="of other data, columns and settings"):
        run_request([tiny_bert], data, out, chunk_rows=CHUNK, probabilities=True)
    _, seen = run_request([tiny_bert], data, out, chunk_rows=CHUNK, overwrite=True)
    assert seen[0].done == 0
    assert out.read_bytes() == undisturbed[".csv"]


def test_a_second_process_keeps_off(table: Path, tiny_bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    said: list[StudioError] = []

    def meanwhile(event: PredictionEvent) -> None:
        if event.event == "rows_predicted" and not said:
            with pytest.raises(StudioError, match="Another process") as caught:
                run_request([tiny_bert], table, out, chunk_rows=CHUNK)
            said.append(caught.value)

    predict(Request((str(tiny_bert),), str(table), str(out)), meanwhile, chunk_rows=CHUNK)
    assert said
    assert out.exists()


def test_a_table_four_times_as_long_takes_no_more_memory(tiny_bert: Path, tmp_path: Path) -> None:
    # 8 KB beside each text: 4,500 rows more would be 36 MB.
    short = write_tweets(tmp_path / "short.csv", 1_500, wide=8_000)
    long = write_tweets(tmp_path / "long.csv", 6_000, wide=8_000)
    program = (
        _PREDICT.split("model, data")[0]
        + """
import json, resource
for data in sys.argv[2:]:
    predict(Request((sys.argv[1],), data, data + ".jsonl"), lambda event: None, chunk_rows=500)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""
    )
    words = [sys.executable, "-c", program, str(tiny_bert), str(short), str(long)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert after - before < 12  # MB
    lines = Path(f"{long}.jsonl").read_text("utf-8").splitlines()
    assert [int(json.loads(line)["number"]) for line in lines] == list(range(6_000))
