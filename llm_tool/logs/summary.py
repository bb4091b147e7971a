"""The run in plain lines: for pipes, log files, batch jobs, and library calls."""

from __future__ import annotations

import math
import sys
from typing import TextIO

from llm_tool.events import (
    ClusterSeen,
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobRetried,
    JobStarted,
    Reinforcement,
    ReinforcementEnded,
    ReinforcementStarted,
    RunEnded,
    RunStarted,
    WeakClass,
)
from llm_tool.logs.cluster_summary import ClusterSummary
from llm_tool.plan import Job
from llm_tool.text import plural, shorten, visible

_LONGEST = 120  # characters of a job's title in a line


class PlainSummary:
    """An observer that writes one plain line for an epoch, and one for a job's start and end."""

    def __init__(self, sink: TextIO | None = None) -> None:
        """Write to ``sink``, or to standard error."""
        self._sink = sink
        self._cluster = ClusterSummary()

    def __call__(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        if isinstance(event, ClusterSeen):
            for line in self._cluster.lines(event):
                self._write(line)
        elif line := describe(event):
            self._write(line)

    def _write(self, line: str) -> None:
        sink = self._sink or sys.stderr
        sink.write(f"{line}\n")
        sink.flush()


def describe(event: Event) -> str:
    """Return an event as one line of text, empty if there is nothing to say."""
    if isinstance(event, RunStarted):
        return done_before(event)
    if isinstance(event, JobStarted):
        return _start_line(event)
    if isinstance(event, JobRetried):
        return f"{_title(event.job)}: {visible(event.why)} {visible(event.how)}"
    if isinstance(event, EpochEnded):
        return _epoch_line(event)
    if isinstance(event, JobEnded):
        return _job_line(event)
    if isinstance(event, JobFailed):
        what, *output = event.what.splitlines() or [""]
        why = " ".join(filter(None, (what, event.remedy)))
        said = f"{_title(event.job)}: failed: {visible(why)}"
        return "\n  | ".join([said, *map(visible, output)])  # what it wrote last
    if isinstance(event, Reinforcement):
        return f"{_title(event.job)}: {describe_reinforcement(event)}"
    if isinstance(event, RunEnded):
        return _end_line(event)
    return ""


def done_before(event: RunStarted) -> str:
    """Return how much of a resumed run is done; empty for a new one."""
    count = len(event.done)
    return f"Resumed: {count} of {plural(len(event.jobs), 'job')} done before." if count else ""


def _end_line(event: RunEnded) -> str:
    said = f"{event.status}: {event.done} of {event.jobs} jobs done in {duration(event.seconds)}"
    if event.status == "detached":
        return f"{said}. {left_running(event)}"
    return f"{said}; go on with: {visible(event.resume)}" if event.resume else said


def reason(failed: JobFailed) -> str:
    """Return why a job failed, without what it wrote last, which may follow in other lines."""
    return failed.what.partition("\n")[0]


def left_running(event: RunEnded) -> str:
    """Return where the jobs of a detached run are, and how to follow them."""
    return f"Left running on the cluster. {visible(event.resume)} follows it."


def _start_line(event: JobStarted) -> str:
    return (
        f"{_title(event.job)}: {event.train_rows:,} train, "
        f"{event.validation_rows:,} validation, {event.test_rows:,} test; "
        f"{plural(event.epochs, 'epoch')}, batch size {event.batch_size}, "
        f"learning rate {event.learning_rate:g}, {long_texts(event)}; "
        f"{event.device}, {event.precision}{resumed_from(event)}"
    )


def long_texts(event: JobStarted) -> str:
    """Return how many texts are longer than the limit, and what is done with them."""
    over = f"over {event.max_length:,} tokens"
    if event.excluded:
        return f"{plural(event.excluded, 'text')} {over} left out"
    if event.chunked:
        return f"{plural(event.chunked, 'text')} {over} in windows"
    return f"{plural(event.cut, 'text')} {over} cut"


def resumed_from(event: JobStarted) -> str:
    """Return where a job goes on, to be put behind a comma; empty when it begins."""
    if not event.resumed_from:
        return ""
    return f", goes on after epoch {event.resumed_from} of an earlier attempt"


def _title(job: Job) -> str:
    return shorten(visible(job.title), _LONGEST)


def describe_reinforcement(event: Reinforcement) -> str:
    """Return what the reinforced phase is about to do, or what it gained, without the job."""
    if isinstance(event, ReinforcementStarted):
        names = ", ".join(_weak_name(weak) for weak in event.weak)
        verb = "is" if len(event.weak) == 1 else "are"
        return (
            f"reinforced: {names} {verb} below {event.threshold:.2f}: "
            f"{plural(event.epochs, 'more epoch')} from epoch {event.from_epoch}, learning rate "
            f"{event.learning_rate:g}, weak classes drawn {event.oversampling:g} times as often, "
            f"weighing {event.class_weight:g} times as much"
        )
    if isinstance(event, ReinforcementEnded):
        gains = ", ".join(
            f"{visible(gain.name)} {_score(gain.before)} → {_score(gain.after)}"
            for gain in event.gains
            if gain.weak
        )
        if math.isnan(event.after):
            return "reinforced: broken off, its loss was not finite; the model before it is kept"
        change = f"{event.monitor} {event.before:.3f} → {event.after:.3f}"
        how = f"kept, {change}" if event.kept else f"not kept, {change} is no gain"
        return f"reinforced: {how}; F1 {gains}"
    return f"reinforced: nothing to do, every class has an F1 of {event.threshold:.2f} or more"


def _weak_name(weak: WeakClass) -> str:
    where = f" in {visible(weak.language)}" if weak.language else ""
    return f"{visible(weak.name)} {weak.f1:.2f}{where}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _epoch_line(event: EpochEnded) -> str:
    scores, weakest = event.scores, event.scores.weakest
    words = [
        f"{_title(event.job)}: epoch {event.epoch}",
        "" if event.training_phase == "normal" else event.training_phase,
        f"train_loss {event.train_loss:.4f}",
        f"val_loss {event.val_loss:.4f}",
        f"accuracy {scores.accuracy:.3f}",
        f"f1_macro {scores.f1_macro:.3f}",
        f"weakest {visible(weakest.name)} {weakest.f1:.2f}" if weakest else "",
        *(
            f"{visible(lang.language)} {lang.f1_macro:.3f}"
            for lang in scores.languages
            if lang.f1_macro is not None and len(scores.languages) > 1
        ),
        duration(event.seconds),
        "best" if event.is_best else "",
    ]
    return "  ".join(filter(None, words))


def _job_line(event: JobEnded) -> str:
    score = event.best.scores.f1_macro
    test = f"test f1_macro {test_score(event)}" if event.test else "no test rows"
    saved = f"saved in {visible(event.saved_model_path)}" if event.saved_model_path else "not saved"
    return (
        f"{_title(event.job)}: best epoch {event.best.epoch}, "
        f"validation f1_macro {score:.3f}, {test}; {saved}"
    )


def test_score(result: JobEnded) -> str:
    """Return the test macro F1 of a result with its interval, as ``0.641 [0.61, 0.67]``."""
    if result.test is None:
        return "no test rows"
    low, high = result.f1_macro_low, result.f1_macro_high
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{result.test.f1_macro:.3f}{interval}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``41 s``, ``6 min 12 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
