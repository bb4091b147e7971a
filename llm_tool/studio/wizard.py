"""The questions: the only module that asks. Enter accepts, Esc goes back, Ctrl-C stops.

Every question has a default. A question returns the answer, or ``BACK``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import questionary
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from questionary import Choice, Question, Separator, Style

from llm_tool.errors import StudioError


class Back:
    """The type of ``BACK``."""


BACK: Final = Back()
Answer: TypeAlias = Any  # a value of the options, a text, or BACK
Option = tuple[str, Any] | tuple[str, Any, str]  # title, value, why it cannot be chosen

_HINT = "(Esc: back)"
_STYLE = Style(
    [
        ("qmark", "bold"),
        ("question", "bold"),
        ("answer", "bold"),
        ("pointer", "bold"),
        ("highlighted", "bold"),
        ("selected", ""),
        ("instruction", "fg:ansibrightblack"),
        ("disabled", "fg:ansibrightblack"),
    ]
)
_LONG = 15  # lists from here on can be typed into; the menu is shorter


class Asker:
    """Asks one question at a time; with ``numbered``, choices are typed as numbers.

    Numbered choices are for screen readers and terminals without cursor keys.

    Raises:
        StudioError: There is no terminal to ask on.
    """

    def __init__(self, *, numbered: bool = False) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise StudioError(
                "There is no terminal to ask questions on.",
                remedy="Use the command line: llm-tool train quick FILE --label COLUMN.",
            )
        self._numbered = numbered

    def choose(
        self, question: str, options: Sequence[Option | None], default: object = None
    ) -> Answer:
        """Ask for one of several options; ``None`` among them is a dividing line."""
        if self._numbered:
            return self._choose_by_number(question, options, default)
        choices = [_choice(option) for option in options]
        first: Answer = default if any(o and o[1] == default for o in options) else None
        long = len(choices) >= _LONG
        return _ask(
            questionary.select(
                question,
                choices=choices,
                default=first,
                qmark="?",
                pointer="›",
                style=_STYLE,
                instruction="(type to filter, Esc: back)" if long else _HINT,
                use_search_filter=long,
                use_jk_keys=False,
            )
        )

    def _choose_by_number(
        self, question: str, options: Sequence[Option | None], default: object
    ) -> Answer:
        usable = [o for o in options if o and len(o) == 2]
        width = len(str(len(usable)))
        lines = [f"{i:>{width}}. {option[0]}" for i, option in enumerate(usable, start=1)]
        values = [option[1] for option in usable]
        sys.stdout.write("\n".join(lines) + "\n")
        first = str(values.index(default) + 1) if default in values else "1"

        def number_of_a_choice(text: str) -> bool | str:
            good = text.isdecimal() and 1 <= int(text) <= len(values)
            return good or f"Type a number from 1 to {len(values)}."

        answer = self.text(question, first, number_of_a_choice)
        return BACK if answer is BACK else values[int(answer) - 1]

    def choose_several(
        self,
        question: str,
        options: Sequence[tuple[str, str]],
        chosen: Sequence[str],
        *,
        at_least: int = 1,
    ) -> Answer:
        """Ask for options, one or none ``at_least``; returns the list of their values."""
        if self._numbered:
            return self._choose_several_by_number(question, options, chosen, at_least)
        return _ask(
            questionary.checkbox(
                question,
                choices=[Choice(title, value, checked=value in chosen) for title, value in options],
                qmark="?",
                pointer="›",
                style=_STYLE,
                instruction="(Space: mark, Esc: back)",
                validate=lambda marked: (
                    len(marked) >= at_least or "Mark at least one with the space bar."
                ),
            )
        )

    def _choose_several_by_number(
        self,
        question: str,
        options: Sequence[tuple[str, str]],
        chosen: Sequence[str],
        at_least: int,
    ) -> Answer:
        values = [value for _, value in options]
        width = len(str(len(options)))
        lines = [f"{i:>{width}}. {title}" for i, (title, _) in enumerate(options, start=1)]
        sys.stdout.write("\n".join(lines) + "\n")
        default = " ".join(str(i) for i, v in enumerate(values, start=1) if v in chosen)

        def numbers_of_choices(text: str) -> bool | str:
            words = text.replace(",", " ").split()
            known = all(w.isdecimal() and 1 <= int(w) <= len(values) for w in words)
            return (
                known and len(words) >= at_least
            ) or f"Type numbers from 1 to {len(values)}, with spaces between."

        answer = self.text(question, default, numbers_of_choices)
        if answer is BACK:
            return BACK
        return [values[int(word) - 1] for word in answer.replace(",", " ").split()]

    def text(
        self, question: str, default: str, check: Callable[[str], bool | str] | None = None
    ) -> Answer:
        """Ask for a line of text."""
        return _ask(
            questionary.text(
                question,
                default=default,
                validate=check,
                qmark="?",
                style=_STYLE,
                instruction=_HINT,
            )
        )

    def path(self, question: str) -> Answer:
        """Ask for the path of a file, completed with Tab."""

        def existing(text: str) -> bool | str:
            return Path(text).expanduser().is_file() or "There is no such file."

        return _ask(questionary.path(question, validate=existing, qmark="?", style=_STYLE))


def _choice(option: Option | None) -> Choice | Separator:
    if option is None:
        return Separator("  ──────")
    return Choice(option[0], option[1], disabled=option[2] if len(option) == 3 else None)


def _ask(question: Question) -> Answer:
    """Ask; Esc gives ``BACK`` and Ctrl-C raises ``KeyboardInterrupt``."""
    keys = KeyBindings()

    @keys.add("escape", eager=True)
    def go_back(event: KeyPressEvent) -> None:
        event.app.erase_when_done = True
        event.app.exit(result=BACK)

    application = question.application
    application.ttimeoutlen = 0.05  # seconds from a lone Esc to going back
    own = application.key_bindings
    application.key_bindings = merge_key_bindings([own, keys] if own else [keys])
    return question.unsafe_ask()
