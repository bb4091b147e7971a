"""``llm-tool predict`` and Predict in the studio: what is typed, shown and returned."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from llm_tool.cli.app import app
from llm_tool.inference.predictor import Predictor
from llm_tool.inference.request import Request, default_output
from llm_tool.studio import predictions
from llm_tool.studio.predict import proposed, saved_models
from tests.conftest import FINISHED, Run, tweets_csv
from tests.terminal import DOWN, ESC, SPACE, Terminal


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "tweets.csv").write_text(tweets_csv(), "utf-8")
    return tmp_path


def model_of(finished: Path) -> str:
    return str(sorted((finished / "models" / FINISHED / "sentiment").iterdir())[0])


def call(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["predict", *words])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_labels_a_table_and_says_where_it_is(
    finished: Path, tiny_bert: Path, run: Run, here: Path
) -> None:
    (here / "tweets.csv").write_text(tweets_csv() + "t60,,en,,,\n", "utf-8")
    done = run("predict", model_of(finished), "tweets.csv", "-o", "out file.csv")
    assert done.returncode == 0
    assert "tweets.csv: 61 rows (comma-separated, UTF-8)" in done.stderr
    assert "1 row without a text: empty cells." in done.stdout
    assert "'out file.csv'" in done.stdout
    assert len((here / "out file.csv").read_text("utf-8").splitlines()) == 62
    assert len([line for line in done.stdout.splitlines() if "itive" in line or "gative" in line])


def test_one_json_object_an_event(finished: Path, here: Path) -> None:
    code, out, _ = call(model_of(finished), "tweets.csv", "-o", "out.parquet", "--json", "--int8")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["event"] for event in events] == [
        "prediction_started", "cost_measured", "prediction_ended",
    ]  # fmt: skip
    assert events[0]["columns"] == ["sentiment_label", "sentiment_probability"]
    assert sum(events[-1]["tally"]["labels"]["sentiment"].values()) == 60


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tweets.csv"], "two at least"),
        (["tweets.csv", "tweets.csv"], "This is a file, not a model folder."),
        (["gone", "tweets.csv"], "There is no such model folder."),
        (["MODELS", "tweets.csv"], "Give one of the models in it: "),
        (["MODEL", "gone.csv"], "The file does not exist."),
        (["MODEL", "tweets.csv", "-t", "txt"], "Did you mean text?"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    finished: Path, here: Path, words: list[str], said: str
) -> None:
    places = {"MODEL": model_of(finished), "MODELS": str(Path(model_of(finished)).parent)}
    code, out, err = call(*(places.get(word, word) for word in words), "-o", "out.csv")
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert [path.name for path in here.iterdir()] == ["tweets.csv"]


def test_a_folder_of_models_is_refused_with_the_models_in_it(finished: Path, here: Path) -> None:
    shutil.copytree(finished / "models", here / "models")
    for folder in (f"models/{FINISHED}/sentiment", f"models/{FINISHED}", "models"):
        code, _, err = call(folder, "tweets.csv", "-o", "out.csv")
        assert code == 2
        said = "".join(err.split())
        assert Path(model_of(finished)).relative_to(finished).as_posix() in said
        assert ("and2more." in said) == (not folder.endswith("sentiment"))


def test_stopped_before_the_first_rows_are_finished(
    finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "answer", stopped)
    code, _, err = call(model_of(finished), "tweets.csv", "-o", "out.csv")
    assert code == 130
    assert "Stopped. No rows are finished yet. The same command starts again:" in err


def made_models(folder: Path, *models: tuple[str, str, float]) -> list[Path]:
    for name, language, score in models:
        result = {"job": {"language": language}, "best": {"scores": {"f1_macro": score}}}
        (folder / name).mkdir(parents=True)
        (folder / name / "training.json").write_text(json.dumps({"result": result}), "utf-8")
    return saved_models(folder)


def test_the_studio_proposes_the_best_model_or_that_of_each_language(tmp_path: Path) -> None:
    each = [("c/a", "EN", 0.5), ("c/b", "EN", 0.7), ("c/d", "FR", 0.4), ("e/f", "EN", 0.9)]
    one = [*each, ("c/g", "MULTI", 0.8)]
    named = [
        [path.name for path in proposed(made_models(tmp_path / str(n), *models))]
        for n, models in enumerate((each, one))
    ]
    assert named == [["b", "d"], ["g"]]
    (tmp_path / "0/c/b/training.json").write_text("{")  # as damaged as can be
    assert [path.name for path in proposed(saved_models(tmp_path / "0"))] == ["a", "d"]


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(
    finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rows = tweets_csv().splitlines()
    (here / "many.csv").write_text("\n".join([header, *rows * 100]) + "\n", "utf-8")
    answer, calls = Predictor.answer, []

    def stopped(self: Predictor, *given: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "answer", stopped)
    words = [model_of(finished), "many.csv", "-o", "out.csv"]
    code, out, err = call(*words)
    assert (code, out) == (130, "")
    assert "Stopped. 4,499 finished rows are kept." in err
    assert "llm-tool predict" in err
    code, out, err = call(*words)
    assert code == 0
    assert "going on with row" in err
    assert "6,000 rows in" in out
    assert len((here / "out.csv").read_text("utf-8").splitlines()) == 6_001


@pytest.mark.parametrize(
    "request_",
    [
        Request(("models/a b", "-m"), "-data.csv", "out.csv"),
        Request(
            ("m",), "d.csv", "--o.csv", "-text", "langue d'oc", "cp1252", ";", "2",
            probabilities=True, int8=True, overwrite=True,
        ),
    ],
)  # fmt: skip
def test_the_command_that_is_shown_does_the_same(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Request] = []
    monkeypatch.setattr(
        predictions, "run_prediction", lambda request, **_: seen.append(request) or True
    )
    code, _, err = call(*shlex.split(request_.command())[2:])
    assert code == 0, err
    (made,) = seen
    dashed = tuple(f"./{m}" if m.startswith("-") else m for m in (*request_.models, request_.data))
    assert (*made.models, made.data) == dashed
    assert vars(made) | {"models": (), "data": ""} == vars(request_) | {"models": (), "data": ""}


def test_the_output_is_named_after_the_table() -> None:
    names = ["a/tweets.csv", "tweets.jsonl.gz", "t.parquet", "t.xlsx", ".csv"]
    assert [default_output(name) for name in names] == [
        "tweets_predicted.csv", "tweets_predicted.jsonl", "t_predicted.parquet",
        "t_predicted.csv", "table_predicted.csv",
    ]  # fmt: skip


def test_names_from_files_never_reach_the_terminal_as_they_are(finished: Path, here: Path) -> None:
    hostile = here / "\x1b[31m[red]"
    shutil.copytree(model_of(finished), hostile)
    facts = json.loads((hostile / "training.json").read_text("utf-8"))
    facts["result"]["job"]["task"]["label_key"] = "\x1b]0;x\x07[bold]"
    (hostile / "training.json").write_text(json.dumps(facts), "utf-8")
    code, out, err = call(str(hostile), "tweets.csv", "-o", "\x1b[2Jout.csv")
    assert code == 0
    assert "\x1b" not in out + err
    assert "[bold]" in out
    assert "[red]" in err


def test_predict_in_the_studio_by_key_presses(finished: Path, tiny_bert: Path, here: Path) -> None:
    shutil.copytree(finished / "models", here / "models")
    terminal = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=here)
    try:
        terminal.wait_for_question("What would you like to do?")
        while "› Predict" not in terminal.text():
            terminal.press(DOWN)
        terminal.answer("What would you like to do?")
        terminal.answer("Models of which session?")
        terminal.answer("Which models?", DOWN, SPACE)
        terminal.wait_for_question("Which file holds the texts?")
        terminal.press(ESC)
        terminal.answer("Which models?")
        terminal.answer("Which file holds the texts?")
        terminal.answer("Which column holds the texts?")
        terminal.answer("What is written of each text?", DOWN)
        terminal.answer("Name of the output")
        terminal.answer("Start?")
        text = terminal.wait_for("texts/s", 60)
        terminal.wait_for_question("What would you like to do?")
        terminal.press(ESC)
        assert terminal.exit_code() == 0
    finally:
        terminal.close()
    shown = "".join(line for line in text.split("\n")).replace(" ", "")
    assert "--out=tweets_predicted.csv" in shown
    assert "--probabilities" in shown
    assert all(len(line) <= 80 for line in text.split("\n"))
    header = (here / "tweets_predicted.csv").read_text("utf-8").splitlines()[0]
    assert header.count("_probability_positive") == 2
