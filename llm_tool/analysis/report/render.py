"""A report as HTML, LaTeX or Markdown: one template each, in which every value is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from llm_tool import __version__
from llm_tool.analysis.compare import compare
from llm_tool.analysis.compare_facts import Contest, Pair
from llm_tool.analysis.compare_text import rounded, scope_gap, short_p, summary, told_pairs, verdict
from llm_tool.analysis.learning_curve import Point, describe
from llm_tool.analysis.ranking import Standing
from llm_tool.analysis.report import charts, english, french
from llm_tool.analysis.report.counts import PARTS
from llm_tool.analysis.report.facts import Scope, gather
from llm_tool.analysis.report.methods import methods
from llm_tool.events import JobEnded, JobStarted
from llm_tool.logs.archive import Archive, Training
from llm_tool.logs.summary import duration, long_texts, reason
from llm_tool.text import escape_latex, escape_markdown, plural, shorten, visible
from llm_tool.trainers.resampling import Interval

Kind = Literal["html", "latex", "markdown"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUFFIXES: Mapping[Kind, str] = {"html": ".html", "latex": ".tex", "markdown": ".md"}
NOTHING = "–"


def render(archive: Archive, kind: Kind) -> str:
    """Return the report of a session; the same session gives the same text.

    Raises:
        StudioError: The session's files cannot be read.
    """
    report = gather(archive)
    every = methods(report)
    words = {
        "report": report,
        "archive": archive,
        "methods": {
            "en": [english.paragraph(method) for method in every],
            "fr": [french.paragraph(method) for method in every],
        },
        "comparison": compare([archive]),
        "parts": PARTS,
        "version": __version__,
    }
    template = _environment(kind).get_template(f"report{SUFFIXES[kind]}.jinja")
    return template.render(words)


def _environment(kind: Kind) -> Environment:
    escape = {"html": visible, "latex": escape_latex, "markdown": escape_markdown}[kind]
    delimiters: dict[str, str] = {}
    if kind == "latex":  # whose own braces would be taken for Jinja's
        delimiters = {
            "variable_start_string": "<<", "variable_end_string": ">>",
            "block_start_string": "<%", "block_end_string": "%>",
            "comment_start_string": "<#", "comment_end_string": "#>",
        }  # fmt: skip
    environment = Environment(
        loader=PackageLoader("llm_tool.analysis.report"),
        autoescape=kind == "html",
        finalize=partial(_finalise, escape),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **delimiters,  # type: ignore[arg-type]
    )
    environment.filters |= {
        "score": score, "whole": whole, "interval": interval, "spread": spread, "moment": moment,
        "duration": duration, "short": shorten, "share": share, "verbatim": verbatim,
        "own": Markup, "setting": setting, "why": why, "signed": signed,
        "signed_interval": signed_interval, "plain_interval": plain_interval,
        "p_value": short_p, "told_apart": told_apart, "told": describe,
        "scope_gap": scope_gap,
    }  # fmt: skip
    environment.globals |= {
        "draw": charts.draw, "charts": charts, "plural": _counted, "long": _long,
        "single": _single, "deviation": _deviation, "said": _said,
    }  # fmt: skip
    return environment


def _finalise(escape: Callable[[str], str], value: object) -> object:
    """Escape what a template says of others; what is its own is ``Markup``."""
    if isinstance(value, Markup):
        return value
    return escape(str(value))


def verbatim(text: str) -> Markup:
    """Return text for a block of code: one line in which nothing means anything."""
    return Markup(visible(text))


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {several}" if several and count != 1 else plural(count, one)


def _long(started: JobStarted) -> str:
    """Return what became of long texts, to be put behind a name; empty when there are none."""
    some = started.cut or started.chunked or started.excluded
    return f"; {long_texts(started)}" if some else ""


def setting(value: object) -> str:
    """Return the value of a setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def score(value: float | None, decimals: int = 3) -> str:
    """Return a score with as many decimals as its column has."""
    return NOTHING if value is None or value != value else f"{value:.{decimals}f}"


def whole(value: int | None) -> str:
    """Return a number of rows."""
    return NOTHING if value is None else f"{value:,}"


def share(value: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * value:.0f} %"


def why(training: Training) -> str:
    """Return why a training has no result."""
    failed = training.failed
    if failed is not None:
        return " ".join(filter(None, (reason(failed), failed.where, failed.remedy)))
    return "It has not come to its end." if training.started else "It has not begun."


def _single(scope: Scope, standing: Standing) -> JobEnded | None:
    """Return the result behind a place in the ranking, if it is only one."""
    place = standing.model, standing.model_name
    own = [t.ended for t in scope.trainings if t.ended and (t.job.model, t.job.model_name) == place]
    return own[0] if len(own) == 1 else None


def _deviation(scope: Scope, standing: Standing) -> str:
    """Return how sure a test score is: its interval, or its spread over trainings."""
    if standing.test_spread is not None:
        return f"± {standing.test_spread:.3f}"
    return interval(_single(scope, standing))


def interval(result: JobEnded | None) -> str:
    """Return the 95 % interval of a result's test macro F1."""
    low, high = (result.f1_macro_low, result.f1_macro_high) if result else (None, None)
    return NOTHING if low is None or high is None else f"{low:.3f}–{high:.3f}"


def plain_interval(about: Interval | Point) -> str:
    """Return the interval of a score."""
    return f"{about.low:.3f}–{about.high:.3f}"


def signed(difference: float) -> str:
    """Return a difference of scores with its sign."""
    return f"{difference:+.3f}".replace("-", "−")


def signed_interval(about: Interval) -> str:
    """Return the interval of a difference."""
    return f"{signed(about.low)} to {signed(about.high)}"


def told_apart(pair: Pair) -> str:
    """Return whether a pair differs, and else how many test rows would show a difference."""
    if pair.distinguishable:
        return "yes"
    if pair.items_needed is None:
        return "no"
    return f"no; it would take about {rounded(pair.items_needed):,} test rows"


def _said(contest: Contest) -> list[str]:
    """Return what a contest says in sentences."""
    verdicts = [verdict(pair, contest) for pair in told_pairs(contest)]
    return [*filter(None, [summary(contest)]), *verdicts, *contest.notes]


def spread(mean: float | None, deviation: float | None) -> str:
    """Return a mean with its standard deviation, if there is one."""
    return score(mean) if deviation is None else f"{score(mean)} ± {deviation:.3f}"


def moment(stamp: str) -> str:
    """Return YYYYMMDD_HHMMSS as people write it."""
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", stamp or "")
    return "{}-{}-{} {}:{}:{}".format(*match.groups()) if match else NOTHING
