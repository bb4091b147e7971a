"""The run in plain lines: for pipes, log files, batch jobs, and library calls."""

from __future__ import annotations

import sys
from typing import TextIO

from llm_tool.events import EpochEnded, Event, JobEnded, JobFailed, JobStarted, RunEnded
from llm_tool.text import plural, visible


class PlainSummary:
    """An observer that writes one plain line for an epoch, and one for a job's start and end."""

    def __init__(self, sink: TextIO | None = None) -> None:
        """Write to ``sink``, or to standard error."""
        self._sink = sink

    def __call__(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        line = describe(event)
        if line:
            sink = self._sink or sys.stderr
            sink.write(f"{line}\n")
            sink.flush()


def describe(event: Event) -> str:
    """Return an event as one line of text, empty if there is nothing to say."""
    if isinstance(event, JobStarted):
        return (
            f"{visible(event.job.title)}: {event.train_rows:,} train, "
            f"{event.validation_rows:,} validation, {event.test_rows:,} test; "
            f"{plural(event.epochs, 'epoch')}, batch size {event.batch_size}, "
            f"learning rate {event.learning_rate:g}, {plural(event.cut, 'text')} over "
            f"{event.max_length:,} tokens cut; {event.device}, {event.precision}"
        )
    if isinstance(event, EpochEnded):
        return _epoch_line(event)
    if isinstance(event, JobEnded):
        return _job_line(event)
    if isinstance(event, JobFailed):
        why = " ".join(filter(None, (event.what, event.remedy)))
        return f"{visible(event.job.title)}: failed: {visible(why)}"
    if isinstance(event, RunEnded):
        jobs = event.done + event.failed
        return f"{event.status}: {event.done} of {jobs} jobs done in {duration(event.seconds)}"
    return ""


def _epoch_line(event: EpochEnded) -> str:
    scores, weakest = event.scores, event.scores.weakest
    words = [
        f"{visible(event.job.title)}: epoch {event.epoch}",
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
    test = "no test rows"
    if event.test and event.f1_macro_low is not None and event.f1_macro_high is not None:
        low, high = event.f1_macro_low, event.f1_macro_high
        test = f"test f1_macro {event.test.f1_macro:.3f} [{low:.2f}, {high:.2f}]"
    return (
        f"{visible(event.job.title)}: best epoch {event.best.epoch}, "
        f"validation f1_macro {score:.3f}, {test}; saved in {visible(event.saved_model_path)}"
    )


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``41 s``, ``6 min 12 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
