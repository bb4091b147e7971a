"""What a run looks like on a terminal: whole screens, from events made by hand."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from llm_tool.errors import StudioError
from llm_tool.events import (
    BatchEnded,
    ClassGain,
    ClassScore,
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobStarted,
    LanguageScore,
    ReinforcementEnded,
    ReinforcementSkipped,
    ReinforcementStarted,
    RunEnded,
    RunStarted,
    Scores,
    WeakClass,
)
from llm_tool.logs.summary import PlainSummary, duration
from llm_tool.observers import shielded
from llm_tool.plan import Job, Task
from llm_tool.studio.display import ResultDisplay, RunDisplay
from llm_tool.studio.epochs import EpochTable, short_duration
from llm_tool.studio.panels import command_lines
from llm_tool.studio.theme import Column, fit, print_table, show_error


def job(language: str = "FR", languages: tuple[str, ...] = ("FR",), number: int = 1) -> Job:
    task = Task("sentiment", "", ("negative", "neutral", "positive"), languages)
    return Job(task, "camembert-base", "camembert-base", language, id=f"j{number:04d}")


def scores(f1: float, languages: tuple[str, ...] = ()) -> Scores:
    classes = tuple(
        ClassScore(name, f1, f1, f1 - i / 10, 10) for i, name in enumerate(("positive", "neutral"))
    )
    spoken = tuple(LanguageScore(name, f1, f1, 5) for name in languages)
    return Scores(f1, f1, f1, f1, f1, (*classes, ClassScore("rare", None, None, None, 0)), spoken)


def epoch(number: int, f1: float, best: bool, of: Job | None = None) -> EpochEnded:
    of = of or job()
    return EpochEnded(
        job=of,
        epoch=number,
        timestamp="20261122_140501",
        train_loss=1.0312 / number,
        val_loss=0.912,
        scores=scores(f1, of.task.languages if len(of.task.languages) > 1 else ()),
        learning_rate=5e-5,
        seconds=41.2,
        tokens_per_second=1240.4,
        monitor="f1_macro",
        selection_value=f1,
        is_best=best,
    )


def ended(of: Job | None = None, f1: float = 0.636) -> JobEnded:
    best = epoch(2, f1, True, of)
    return JobEnded(best.job, best, 80.0, scores(0.641), 0.61, 0.67, "models/x")


def a_run() -> list[Event]:
    one = job()
    return [
        RunStarted("20261122_140501", "quick", "training_logs/20261122_140501", "models/x", (one,)),
        JobStarted(one, "20261122_140501", 1838, 323, 869, 3, 32, 5e-5, 512, 41, "f1_macro", "cpu",
                   "float32", 110_600_000),
        BatchEnded(one, 1, 2, 1, 2, 640, 0.5),
        epoch(1, 0.571, True),
        epoch(2, 0.636, True),
        epoch(3, 0.627, False),
        ended(),
        RunEnded("20261122_140501", "done", 1, 1, 0, 372.0),
    ]  # fmt: skip


def shown(events: list[Event], width: int = 80) -> str:
    sink = StringIO()
    console = Console(file=sink, width=width, markup=False, highlight=False, emoji=False)
    for show in (RunDisplay(console), ResultDisplay(console)):
        for event in events:
            show(event)
    return sink.getvalue()


def test_a_run_is_shown_job_by_job_and_row_by_row() -> None:
    assert shown(a_run()) == (
        "───────────────── sentiment · camembert-base · FR · job 1 of 1 ─────────────────\n"
        "110.6 M parameters, cpu float32, batch 32, learning rate 5e-05, best f1_macro, \n"
        "41 texts over 512 tokens cut\n"
        "epoch  train loss  val loss  accuracy  macro F1  weakest class      time\n"
        "    1      1.0312    0.9120     0.571     0.571  neutral 0.47       41 s  ★ best\n"
        "    2      0.5156    0.9120     0.636     0.636  neutral 0.54       41 s  ★ best\n"
        "    3      0.3437    0.9120     0.627     0.627  neutral 0.53       41 s\n"
        "\n"
        "class (test rows)  precision  recall     F1  rows\n"
        "neutral                0.641   0.641  0.541    10\n"
        "positive               0.641   0.641  0.641    10\n"
        "rare                       –       –      –     0\n"
        "\n"
        "──────────────────────────────────── Result ────────────────────────────────────\n"
        "category   model           scope  epoch  val macro F1  test macro F1 [95 %]\n"
        "sentiment  camembert-base  FR         2         0.636    0.641 [0.61, 0.67]\n"
        "✓ 1 of 1 jobs done in 6 min 12 s\n"
        "  logs    training_logs/20261122_140501/(category)/training.csv, best.csv\n"
        "  models  models/x/(category)/(model)/\n"
        "  next    llm-tool report 20261122_140501\n"
        "  predict llm-tool predict models/x TABLE -o labelled.csv\n"
    )


def test_jobs_that_are_trained_together_share_one_table_with_their_names() -> None:
    jobs = (job("FR", number=1), job("EN", number=2))
    run = RunStarted("s", "distributed", "logs/s", "models/s", jobs, workers=2)
    rows = [
        epoch(1, 0.5, True, jobs[1]),
        epoch(1, 0.6, True, jobs[0]),
        epoch(2, 0.4, False, jobs[1]),
    ]
    done = [ended(jobs[1], 0.5), ended(jobs[0], 0.6)]

    lines = shown([run, *rows, *done, RunEnded("s", "done", 2, 2, 0, 1.0)]).splitlines()

    assert lines == [
        "───────────────────────────── 2 jobs, 2 at a time ──────────────────────────────",
        "job                   epoch  val loss  macro F1  weakest class",
        "sentiment …t-base EN      1    0.9120     0.500  neutral 0.40     ★ best",
        "sentiment …t-base FR      1    0.9120     0.600  neutral 0.50     ★ best",
        "sentiment …t-base EN      2    0.9120     0.400  neutral 0.30",
        "──────────────────────────────────── Result ────────────────────────────────────",
        "category   model           scope  epoch  val macro F1  test macro F1 [95 %]",
        "sentiment  camembert-base  FR         2         0.600    0.641 [0.61, 0.67]",
        "sentiment  camembert-base  EN         2         0.500    0.641 [0.61, 0.67]",
        "✓ 2 of 2 jobs done in 1.0 s",
        "  logs    logs/s/(category)/training.csv, best.csv",
        "  models  models/s/(category)/(model)/",
        "  next    llm-tool compare s --logs-dir logs · llm-tool report s --logs-dir logs",
        "  predict llm-tool predict models/x TABLE -o labelled.csv",
    ]


def test_a_result_names_what_comes_next_in_lines_that_fit_and_after_nothing_nothing() -> None:
    jobs = (job("FR", number=1), job("EN", number=2))
    done = [ended(one) for one in jobs]
    end = RunEnded("20261122_140501", "done", 2, 2, 0, 1.0)
    for folder, lines in (
        (
            "training_logs",
            ["  next    llm-tool compare 20261122_140501 · llm-tool report 20261122_140501"],
        ),
        (
            "my logs",
            [
                "  next    llm-tool compare 20261122_140501 --logs-dir 'my logs'",
                "          llm-tool report 20261122_140501 --logs-dir 'my logs'",
            ],
        ),
    ):
        run = RunStarted("20261122_140501", "quick", f"{folder}/20261122_140501", "models", jobs)
        told = shown([run, *done, end]).splitlines()
        at = told.index(lines[0])
        assert told[at : at + len(lines) + 1][:-1] == lines
        assert told[at + len(lines)].startswith("  predict llm-tool predict models/x ")
    stopped = RunEnded("20261122_140501", "interrupted", 2, 0, 0, 1.0)
    assert "llm-tool" not in shown([run, stopped])


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_the_table_of_several_jobs_fits_the_terminal(width: int) -> None:
    table = EpochTable(None, width)
    row = table.row(epoch(12, 0.571, True, job("FR")))
    assert all(len(line) <= width for line in [*table.header(), row])
    assert row.startswith("se")
    assert "0.571" in row


def test_the_reinforced_phase_says_what_is_weak_what_is_done_and_what_was_gained() -> None:
    one = job()
    weak = (WeakClass("neutral", 0.47, 12), WeakClass("positive", 0.55, 6, "FR"))
    started = ReinforcementStarted(one, 0.6, weak, 2, 2, 2.5e-5, 2.0, 3.0)
    gains = (ClassGain("neutral", 0.47, 0.61, True), ClassGain("negative", 0.7, 0.6, False))
    kept = ReinforcementEnded(one, True, "f1_macro", 0.61, 0.64, gains)
    not_kept = replace(kept, kept=False, after=0.6)
    events = [*a_run()[:2], started, kept, not_kept, ReinforcementSkipped(one, 0.6)]

    said = " ".join(shown(events, 500).splitlines()[3:])

    assert said == (
        "reinforced: neutral 0.47, positive 0.55 in FR are below 0.60: 2 more epochs from epoch 2, "
        "learning rate 2.5e-05, weak classes drawn 2 times as often, weighing 3 times as much "
        "reinforced: kept, f1_macro 0.610 → 0.640; F1 neutral 0.47 → 0.61 "
        "reinforced: not kept, f1_macro 0.610 → 0.600 is no gain; F1 neutral 0.47 → 0.61 "
        "reinforced: nothing to do, every class has an F1 of 0.60 or more"
    )


def test_a_shared_encoder_shows_its_mean_while_it_trains_and_each_label_at_the_end() -> None:
    labels = tuple(Task("areas", v, (f"not_{v}", v), ("FR",)) for v in ("law", "vote"))
    whole = Job(Task("areas", "", ("law", "vote"), ("FR",)), "m", "m", "FR", id="j1", labels=labels)
    own = tuple(ended(whole.of(label), f1) for label, f1 in zip(labels, (0.5, 0.7), strict=True))
    joint = replace(ended(whole, 0.6), f1_macro_low=None, f1_macro_high=None, labels=own)
    run = RunStarted("s", "distributed", "logs/s", "models/s", (whole,))

    lines = shown([run, epoch(1, 0.6, True, whole), joint, RunEnded("s", "done", 1, 1, 0, 1.0)])

    table = lines[lines.index("category") :].splitlines()[:4]
    assert table == [
        "category          model  scope  epoch  val macro F1  test macro F1 [95 %]",
        "law               m      FR         2         0.500    0.641 [0.61, 0.67]",
        "vote              m      FR         2         0.700    0.641 [0.61, 0.67]",
        "mean of 2 labels  m      FR         2         0.600                 0.641",
    ]


def test_a_benchmark_ends_with_its_ranking_the_validation_choosing() -> None:
    def trained(model: str, seed: int, val: float, test: float) -> JobEnded:
        own = replace(job(), model=model, model_name=model, seed=seed)
        result = replace(ended(own, val), test=scores(test), parameters=22_700_000)
        return replace(result, tokens_per_second=1240.4)

    done = [
        trained("worse-on-test", 1, 0.7, 0.5),
        trained("worse-on-test", 2, 0.8, 0.6),
        trained("better-on-test", 1, 0.6, 0.9),
        trained("better-on-test", 2, 0.6, 0.9),
    ]
    run = RunStarted("s", "benchmark", "logs/s", "models/s", tuple(r.job for r in done))

    lines = shown([run, *done, RunEnded("s", "done", 4, 4, 0, 1.0)]).splitlines()

    begin = next(i for i, line in enumerate(lines) if "Ranking" in line)
    assert lines[begin : begin + 6] == [
        "─────────────────────────── Ranking · sentiment · FR ───────────────────────────",
        "    model                val F1 ±      test F1 ±    time  params  tok/s",
        "1.  worse-on-test   0.750 ± 0.071  0.550 ± 0.071  1m 20s  22.7 M  1,240",
        "2.  better-on-test  0.600 ± 0.000  0.900 ± 0.000  1m 20s  22.7 M  1,240",
        "By macro F1 on validation; test is the estimate and does not choose. Means of 2 ",
        "trainings a model; ± standard deviation over seeds.",
    ]


def test_a_failed_job_says_what_where_and_what_to_do() -> None:
    run = RunStarted("s", "quick", "logs", "models", (job(),))
    failed = JobFailed(job(), "The model cannot be loaded.", "models/x", "Choose another.")

    assert shown([run, failed, RunEnded("s", "failed", 1, 0, 1, 1.0)]).splitlines()[:4] == [
        "✗ sentiment · camembert-base · FR failed",
        "Error: The model cannot be loaded.",
        "  in models/x",
        "  Choose another.",
    ]


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 120, 160])
@pytest.mark.parametrize(
    "languages", [("EN",), ("EN", "FR"), ("EN", "ES", "FR"), tuple("ABCDEFGH")]
)
def test_header_and_rows_have_one_width_and_never_wrap(
    languages: tuple[str, ...], width: int
) -> None:
    of = job("MULTI" if len(languages) > 1 else languages[0], languages)
    table = EpochTable(of, width)
    lines = [*table.header(), table.row(epoch(1, 0.571, True, of))]

    assert max(map(len, lines)) <= width
    assert "macro F1" in lines[0] or "all" in lines[1]
    assert "0.571" in lines[-1]
    assert lines[-1].endswith("★ best")


def test_a_model_of_one_language_shows_no_column_for_the_others() -> None:
    (header,) = EpochTable(job("EN", ("EN", "FR")), 80).header()
    assert "EN" not in header


def test_two_languages_have_their_own_scores_in_80_columns() -> None:
    of = job("MULTI", ("EN", "FR"))
    table = EpochTable(of, 80)
    assert [*table.header(), table.row(epoch(1, 0.571, True, of))] == [
        "         loss                    F1",
        "epoch   train     val   acc.    all     EN     FR  weakest class    time",
        "    1  1.0312  0.9120  0.571  0.571  0.571  0.571  neutral 0.47     41 s  ★ best",
    ]


def test_wider_terminals_show_speed_and_learning_rate_too() -> None:
    (header,) = EpochTable(job(), 120).header()
    assert header.endswith("weakest class     tok/s  learning rate    time")


def test_long_names_shorten_in_the_middle_and_numbers_never() -> None:
    sink = StringIO()
    console = Console(file=sink, width=30)
    columns = [Column("model", flexible=True), Column("score", "right")]
    print_table(
        console, columns, [["a-very-long-model-name-indeed", "0.123456"], ["日本語" * 9, "1"]]
    )
    assert sink.getvalue().splitlines() == [
        "model                    score",
        "a-very-lon…me-indeed  0.123456",
        "日本語日本…語日本語          1",
    ]


def test_a_narrow_terminal_loses_spare_columns_and_no_number() -> None:
    columns = [
        Column("model", flexible=True),
        Column("epoch", "right", spare=2),
        Column("val", "right", spare=1),
        Column("test", "right"),
    ]
    shown = {}
    for width in (30, 21, 15):
        sink = StringIO()
        print_table(Console(file=sink, width=width), columns, [["bert-base-uncased", *"123"]])
        shown[width] = [line.split() for line in sink.getvalue().splitlines()]
    assert [lines[0] for lines in shown.values()] == [
        ["model", "epoch", "val", "test"],
        ["model", "val", "test"],
        ["model", "test"],
    ]
    assert [lines[1][1:] for lines in shown.values()] == [["1", "2", "3"], ["2", "3"], ["3"]]


def test_names_with_markup_and_escapes_are_shown_as_they_are() -> None:
    sink = StringIO()
    console = Console(file=sink, width=80)
    show_error(console, StudioError("No column [red]x[/red].", where="\x1b[2J", remedy="[/bad]"))
    assert sink.getvalue() == "Error: No column [red]x[/red].\n  in \\x1b[2J\n  [/bad]\n"


def test_labels_like_closing_tags_do_not_crash_the_display() -> None:
    odd = replace(
        job(), task=Task("[/bad]", "", ("[/x]", "[red]"), ("[/]", "EN")), model_name="[b]"
    )
    run = RunStarted("s", "quick", "[/logs]", "[/models]", (odd,))
    events: list[Event] = [
        run,
        epoch(1, 0.5, True, odd),
        ended(odd),
        RunEnded("s", "done", 1, 1, 0, 1),
    ]
    assert "[/bad]" in shown(events)
    assert "[/logs]" in shown(events)


def test_a_command_breaks_between_words_and_can_be_pasted() -> None:
    words = ["llm-tool", "train", "quick", "my file.csv", "-l", "x" * 30, "-m", "EN=embedded"]
    assert command_lines(words, 50) == [
        "llm-tool train quick 'my file.csv' \\",
        f"  -l {'x' * 30} \\",
        "  -m EN=embedded",
    ]


def test_plain_lines_hold_every_score_of_an_epoch() -> None:
    sink = StringIO()
    summary = PlainSummary(sink)
    for event in a_run():
        summary(event)
    assert sink.getvalue() == (
        "sentiment · camembert-base · FR: 1,838 train, 323 validation, 869 test; 3 epochs, batch "
        "size 32, learning rate 5e-05, 41 texts over 512 tokens cut; cpu, float32\n"
        "sentiment · camembert-base · FR: epoch 1  train_loss 1.0312  val_loss 0.9120  "
        "accuracy 0.571  f1_macro 0.571  weakest neutral 0.47  41 s  best\n"
        "sentiment · camembert-base · FR: epoch 2  train_loss 0.5156  val_loss 0.9120  "
        "accuracy 0.636  f1_macro 0.636  weakest neutral 0.54  41 s  best\n"
        "sentiment · camembert-base · FR: epoch 3  train_loss 0.3437  val_loss 0.9120  "
        "accuracy 0.627  f1_macro 0.627  weakest neutral 0.53  41 s\n"
        "sentiment · camembert-base · FR: best epoch 2, validation f1_macro 0.636, test f1_macro "
        "0.641 [0.61, 0.67]; saved in models/x\n"
        "done: 1 of 1 jobs done in 6 min 12 s\n"
    )


def test_a_display_that_crashes_is_left_out_and_the_next_is_told() -> None:
    seen: list[Event] = []

    def crash(event: Event) -> None:
        raise RuntimeError(event)

    show = shielded(crash, seen.append)
    for event in a_run():
        show(event)
    assert seen == a_run()


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (0.04, "0.0 s", "0.0 s"),
        (9.94, "9.9 s", "9.9 s"),
        (41.4, "41 s", "41 s"),
        (59.6, "1m 00s", "1 min 0 s"),
        (372, "6m 12s", "6 min 12 s"),
        (7500, "2h 05m", "2 h 5 min"),
    ],
)
def test_durations_are_written_as_people_say_them(seconds: float, short: str, long: str) -> None:
    assert short_duration(seconds) == short
    assert duration(seconds) == long


@pytest.mark.parametrize("text", ["", "a", "abcdef", "日本語", "a日b本c語"])
@pytest.mark.parametrize("width", [2, 5, 9])
def test_a_cell_takes_exactly_its_width(text: str, width: int) -> None:
    from rich.cells import cell_len

    assert cell_len(fit(text, width)) == width
    assert cell_len(fit(text, width, right=True)) == width
