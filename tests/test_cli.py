"""The command line as a user runs it: in a process of its own, with pipes instead of a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.logs import read_metrics
from tests.conftest import Run
from tests.terminal import CTRL_C, Terminal

SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_a_quick_run_leaves_the_documented_folders(
    run: Run, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    done = run("train", "quick", "tweets.csv", "-l", "sentiment", "-m", str(tiny_bert))

    assert done.returncode == 0, done.stderr
    (session,) = (tmp_path / "training_logs").iterdir()
    found = sorted(str(p.relative_to(session)) for p in session.rglob("*") if p.is_file())
    assert [name for name in found if name != ".lock"] == [
        "jobs.jsonl",
        "sentiment/best.csv",
        "sentiment/runs/j0001/journal.jsonl",
        "sentiment/runs/j0001/predictions.parquet",
        "sentiment/runs/j0001/split.parquet",
        "sentiment/training.csv",
        "session.json",
    ]
    model = tmp_path / "models" / session.name / "sentiment" / "tiny-bert-MULTI"
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "training.json"} <= {
        path.name for path in model.iterdir()
    }


def test_the_split_and_the_predictions_name_rows_by_their_ids(
    run: Run, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    import pandas as pd

    done = run("train", "quick", "tweets.csv", "-l", "topic", "-m", str(tiny_bert), "--epochs",
               "1", "--id-column", "id")  # fmt: skip

    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "training_logs").glob("*/topic/runs/j0001")
    split = pd.read_parquet(folder / "split.parquet")
    assert sorted(split["id"]) == sorted(f"t{i}" for i in range(60))
    assert split["part"].value_counts().to_dict() == {"train": 42, "validation": 9, "test": 9}
    predictions = pd.read_parquet(folder / "predictions.parquet")
    judged = split[split["part"] != "train"]
    assert dict(zip(predictions["id"], predictions["part"], strict=True)) == dict(
        zip(judged["id"], judged["part"], strict=True)
    )
    topics = pd.read_csv(tweets).set_index("id")["topic"]
    assert predictions["true"].tolist() == topics[predictions["id"]].tolist()


def test_talk_goes_to_stderr_in_plain_lines_and_the_result_to_stdout(
    run: Run, tweets: Path, tiny_bert: Path
) -> None:
    done = run("train", "quick", "tweets.csv", "-l", "topic", "-m", str(tiny_bert), "--epochs", "2")

    assert done.stderr.count("topic · tiny-bert · MULTI: epoch ") == 2
    assert "  llm-tool train quick tweets.csv -l topic" in done.stderr
    assert f"-m {tiny_bert}" in done.stderr  # too long for the line, but whole
    assert "\x1b" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split() == [
        "category", "model", "scope", "epoch", "val", "macro", "F1", "test", "macro", "F1",
        "[95", "%]",
    ]  # fmt: skip
    assert lines[2].startswith("topic     tiny-bert  MULTI")
    assert lines[3].startswith("✓ 1 of 1 jobs done in ")


def test_two_models_for_two_languages_share_one_training_csv(
    run: Run, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    models = ["-m", f"EN={tiny_bert}", "-m", f"FR={tiny_bert}"]
    done = run("train", "quick", "tweets.csv", "-l", "sentiment", *models, "--epochs", "2")

    assert done.returncode == 0, done.stderr
    (session,) = (tmp_path / "training_logs").iterdir()
    rows = read_metrics(session / "sentiment" / "training.csv")
    assert rows["language"].tolist() == ["EN", "EN", "FR", "FR"]
    assert rows["epoch"].tolist() == [1, 2, 1, 2]
    assert rows["FR_support"].tolist()[:2] == [0, 0]
    assert read_metrics(session / "sentiment" / "best.csv")["language"].tolist() == ["EN", "FR"]
    # Each model knows the language that it learned from, whatever else is in the table.
    for language, folder in zip(("EN", "FR"), sorted(tmp_path.glob("models/*/*/*")), strict=True):
        card = (folder / "README.md").read_text("utf-8")
        assert f"- It knows the language {language}, and the kinds" in card
        assert f"trained on, in {language}, for research" in card
        assert f"language:\n- {language.lower()}\nlibrary_name" in card
        spoken = [row for row in card.splitlines() if row.startswith(("| EN ", "| FR "))]
        assert [row[2:4] for row in spoken] == [language]


def test_real_tweets_in_three_languages_train_with_the_given_split(
    run: Run, tiny_bert: Path, tmp_path: Path
) -> None:
    data = SHARED / "sentiment_en_fr_es.csv"
    if not data.exists():
        pytest.skip("the public data sets are not beside the checkout")
    models = ["--model", f"EN={tiny_bert}", "--model", f"FR={tiny_bert}"]
    done = run(
        "train", "quick", str(data), "--text-column", "text", "--label", "sentiment",
        "--language-column", "lang", *models, "--epochs", "1",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "3,033 rows left out: no model for their language (ES)." in done.stderr
    (session,) = (tmp_path / "training_logs").iterdir()
    best = read_metrics(session / "sentiment" / "best.csv")
    assert best["language"].tolist() == ["EN", "FR"]
    assert best["EN_support"].tolist() == [324, 0]


def test_json_writes_one_object_an_event_to_stdout(run: Run, tweets: Path, tiny_bert: Path) -> None:
    done = run("train", "quick", "tweets.csv", "-l", "topic", "-m", str(tiny_bert), "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names[:2] == ["run_started", "job_started"]
    assert names[2:-2] == ["epoch_ended"] * 5
    assert names[-2:] == ["job_ended", "run_ended"]
    assert events[-1]["status"] == "done"


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    run: Run, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    done = run("train", "quick", "tweets.csv", "-m", str(tiny_bert), "--dry-run")

    assert done.returncode == 0
    assert "2 multi-class jobs, seed 42" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["tweets.csv"]


def test_one_failing_job_exits_1_and_the_others_are_done(
    run: Run, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "bert"}')
    (broken / "model.safetensors").write_text("not safetensors")

    done = run("train", "quick", "tweets.csv", "-l", "topic", "-m", f"EN={broken}", "-m",
               f"FR={tiny_bert}")  # fmt: skip

    assert done.returncode == 1
    assert "topic · broken · EN: failed: " in done.stderr
    assert "✗ 1 of 2 jobs done" in done.stdout


def test_a_config_file_is_overruled_by_set_and_set_by_flags(
    run: Run, tweets: Path, tiny_bert: Path, write: Callable[..., Path]
) -> None:
    write("run.yaml", "data: tweets.csv\nlabel: topic\nepochs: 7\nseed: 7\nbatch_size: 7\n")
    done = run("train", "quick", "--config", "run.yaml", "--set", "epochs=8", "--set", "seed=8",
               "--seed", "9", "-m", str(tiny_bert), "--dry-run")  # fmt: skip

    command = " ".join(done.stdout.split("without questions:")[1].replace("\\", "").split())
    assert command.startswith("llm-tool train quick tweets.csv -l topic -m ")
    assert command.endswith("--epochs 8 --batch-size 7 --seed 9")


def without_estimate(plan: str) -> str:
    """Return a plan without what is measured, and so never twice the same."""
    lines = (x for x in plan.splitlines(keepends=True) if not x.startswith("About "))
    return re.sub(r"[\d.]+ \wB\s+free", "(so much) free", "".join(lines))


def test_the_printed_command_plans_the_same_run(run: Run, tweets: Path, tiny_bert: Path) -> None:
    asked = [
        "tweets.csv", "-l", "topic", "-m", f"EN={tiny_bert}", "--epochs", "4", "--set",
        "test_share=0.3", "--set", "small_classes=drop", "--split-column", "none",
    ]  # fmt: skip
    first = without_estimate(run("train", "quick", *asked, "--dry-run").stdout)
    command = first.split("without questions:")[1].replace("\\\n", " ").split()

    assert without_estimate(run(*command[1:], "--dry-run").stdout) == first


def test_joining_a_session_adds_to_its_files(
    run: Run, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    for label in ("topic", "sentiment", "topic"):
        done = run("train", "quick", "tweets.csv", "-l", label, "-m", str(tiny_bert), "--epochs",
                   "1", "--session-id", "20260102_030405")  # fmt: skip
        assert done.returncode == 0, done.stderr

    session = tmp_path / "training_logs" / "20260102_030405"
    best = read_metrics(session / "topic" / "best.csv")
    assert best["model_identifier"].tolist() == ["j0001", "j0003"]
    assert (session / "sentiment" / "best.csv").exists()


BAD_USAGE = [
    (["train", "quick", "nowhere.csv"], "The file does not exist."),
    (["train", "quik"], "Did you mean quick?"),
    (["train", "quick", "tweets.csv", "-m", "a", "-m", "b"], "one model, or one for each"),
    (["train", "quick", "tweets.csv", "--shared-encoder"], "nothing to share"),
    (["train", "hybrid", "tweets.csv", "--multi-class", "areas"], "several values a row"),
    (["train", "reinforced", "tweets.csv", "--no-reinforced"], "reinforced phase"),
    (["train", "quick", "tweets.csv", "--seeds", "1,1"], "a seed is given twice"),
    (["train", "quick", "tweets.csv", "-l", "sentimen"], "Did you mean sentiment?"),
    (["train", "quick", "--set", "epoch=3"], "Did you mean epochs?"),
    (["train", "quick", "--set", "epochs"], "Write --set KEY=VALUE."),
    (["train", "quick", "--epochs", "0"], "greater than or equal to 1"),
    (["train", "quick", "--monitor", "f2"], "monitor"),
    (["train", "quick", "--config", "nowhere.yaml"], "nowhere.yaml"),
    (["train", "quick", "--session-id", "../../x"], "is not a session id"),
    (["train", "quick", "-m", "./no-such-folder"], "There is no such model folder."),
    (["train", "quick", "-m", "some/hub-id"], "the hub cannot be reached"),
    (["train", "quick", "--no-such-flag"], "No such option"),
    (["studio"], "There is no terminal"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_USAGE)
def test_bad_usage_exits_2_says_what_to_do_and_leaves_nothing(
    run: Run, tweets: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["tweets.csv"]


def test_debug_shows_the_traceback_of_an_error(run: Run) -> None:
    assert "Traceback" in run("--debug", "train", "quick", "nowhere.csv").stderr


def test_a_logs_folder_that_cannot_be_made_stops_the_run_before_training(
    run: Run, tweets: Path, tiny_bert: Path, write: Callable[..., Path]
) -> None:
    write("a_file", "")
    done = run("train", "quick", "tweets.csv", "-m", str(tiny_bert), "--logs-dir", "a_file/logs")

    assert done.returncode == 2
    assert "Making the session's folder failed" in done.stderr
    assert "--logs-dir" in done.stderr


HOSTILE = ("../../x", "[red]", "=1+1", "CON", "x" * 300, "[/bad]", "a/b", "a b")


def test_hostile_labels_stay_inside_the_folders_and_come_back_whole(
    run: Run, tiny_bert: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [f'the film was {word} {i},"{label}"' for i, word in enumerate(["good", "bad"] * 8)
            for label in HOSTILE]  # fmt: skip
    write("data.csv", "text,../up\n" + "\n".join(rows) + "\n")
    before = {p.name for p in tmp_path.iterdir()}

    done = run("train", "quick", "data.csv", "-l", "../up", "-m", str(tiny_bert), "--epochs", "1",
               "--set", "seed=1")  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert {p.name for p in tmp_path.iterdir()} - before == {"training_logs", "models"}
    assert not (tmp_path.parent / "up").exists()
    (best,) = (tmp_path / "training_logs").rglob("best.csv")
    table = read_metrics(best)
    assert table["label_key"].tolist() == ["../up"]
    assert {f"support_{label}" for label in HOSTILE} <= set(table.columns)


def test_help_comes_in_under_four_tenths_of_a_second() -> None:
    command = [sys.executable, "-m", "llm_tool", "--help"]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.4


def test_the_menu_comes_up_in_six_tenths_of_a_second(tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        terminal = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=tmp_path)
        terminal.wait_for("Quit")
        seconds.append(time.perf_counter() - started)
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 130
        terminal.close()
    assert min(seconds) < 0.6


def test_no_heavy_library_is_loaded_when_the_first_menu_shows(tmp_path: Path) -> None:
    program = """
import sys
from llm_tool.studio import wizard

def first_question(self, question, options, default=None):
    heavy = [m for m in ("torch", "transformers", "pandas") if m in sys.modules]
    sys.stdout.write(f"at the first question: {heavy}")
    return wizard.BACK

wizard.Asker.__init__ = lambda self, numbered=False: None
wizard.Asker.choose = first_question
from llm_tool.cli.app import main
sys.argv = ["llm-tool", "studio"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.endswith("at the first question: []")


def test_doctor_names_versions_device_model_hub_and_folders(run: Run) -> None:
    done = run("doctor")

    assert done.returncode == 0
    for line in ("llm-tool", "torch", "training device   ", "embedded model      all-MiniLM-L6-v2",
                 "extra label-errors  llm-tool label-errors",
                 "model hub", "training_logs/ can be written"):  # fmt: skip
        assert line in done.stdout


def test_doctor_fails_when_a_folder_cannot_be_written(run: Run, write: Callable[..., Path]) -> None:
    write("a_file", "")
    done = run("doctor", "--logs-dir", "a_file/logs")

    assert done.returncode == 1
    assert "a_file/logs/ cannot be written" in done.stdout
