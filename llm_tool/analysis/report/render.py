"""A report as HTML, LaTeX or Markdown: one template each, in which every value is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from llm_tool import __version__
from llm_tool.analysis.report import charts, english, french
from llm_tool.analysis.report.counts import PARTS
from llm_tool.analysis.report.facts import Report, gather
from llm_tool.analysis.report.methods import methods
from llm_tool.logs.archive import Archive
from llm_tool.logs.summary import duration
from llm_tool.text import plural, shorten, visible

Kind = Literal["html", "latex", "markdown"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUFFIXES: Mapping[Kind, str] = {"html": ".html", "latex": ".tex", "markdown": ".md"}
NOTHING = "–"

_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
        "-": r"-{}",  # two would be joined to a dash
        # What LaTeX would take for an option of the line break before it.
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
        "–": r"\textendash{}",
        "“": r"\textquotedblleft{}",
        "”": r"\textquotedblright{}",
        "’": r"\textquoteright{}",
        french.NBSP: "~",
        french.THIN: r"\,",
    }
)


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
        "parts": PARTS,
        "version": __version__,
    }
    template = _environment(kind).get_template(f"report{SUFFIXES[kind]}.jinja")
    return template.render(words)


def _environment(kind: Kind) -> Environment:
    escape = {"html": visible, "latex": escape_tex, "markdown": escape_markdown}[kind]
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
        "own": Markup, "setting": setting,
    }  # fmt: skip
    environment.globals |= {"draw": charts.draw, "charts": charts, "plural": _counted}
    return environment


def _finalise(escape: Callable[[str], str], value: object) -> object:
    """Escape what a template says of others; what is its own is ``Markup``."""
    if isinstance(value, Markup):
        return value
    return escape(str(value))


def escape_tex(text: str) -> str:
    """Return text that LaTeX sets as it is, also at the beginning of a table's row."""
    return visible(text).translate(_TEX)


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, also in a table's cell and at a line's start."""
    escaped = re.sub(r"([\\`*_\[\]|~$<>&@])|(?<=\bwww)(\.)|(:)(?=//)", r"\\\g<0>", visible(text))
    escaped = re.sub(r"^(\s*)([-+#=])", r"\1\\\2", escaped)
    return re.sub(r"^(\s*\d+)([.)])", r"\1\\\2", escaped)  # or a list would begin


def verbatim(text: str) -> Markup:
    """Return text for a block of code: one line in which nothing means anything."""
    return Markup(visible(text))  # noqa: S704 - the block is what keeps it from being markup


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {several}" if several and count != 1 else plural(count, one)


def setting(value: object) -> str:
    """Return the value of a setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or NOTHING
    return "derived, or not set" if value is None else str(value)


def score(value: float | None, decimals: int = 3) -> str:
    """Return a score with as many decimals as its column has."""
    return NOTHING if value is None or value != value else f"{value:.{decimals}f}"


def whole(value: int | None) -> str:
    """Return a number of rows."""
    return NOTHING if value is None else f"{value:,}"


def share(value: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * value:.0f} %"


def interval(result: Any) -> str:  # noqa: ANN401 - a template has no types
    """Return the 95 % interval of a result's test macro F1."""
    low, high = result.f1_macro_low, result.f1_macro_high
    return NOTHING if low is None or high is None else f"{low:.3f}–{high:.3f}"


def spread(mean: float | None, deviation: float | None) -> str:
    """Return a mean with its standard deviation, if there is one."""
    return score(mean) if deviation is None else f"{score(mean)} ± {deviation:.3f}"


def moment(stamp: str) -> str:
    """Return YYYYMMDD_HHMMSS as people write it."""
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", stamp or "")
    return "{}-{}-{} {}:{}:{}".format(*match.groups()) if match else NOTHING
