"""Several observers as one: those that must not fail, and displays, which may."""

from __future__ import annotations

import logging

from llm_tool.events import Event, Observer


def in_order(*observers: Observer) -> Observer:
    """Return one observer that tells each of several in turn; what one raises stops the run."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe


def shielded(*shows: Observer) -> Observer:
    """Return one observer that tells displays, and leaves one out from when it fails.

    A crash in a display goes to the log and never costs a row.
    """
    working = list(shows)

    def observe(event: Event) -> None:
        for show in tuple(working):
            try:
                show(event)
            except Exception:  # whatever a display raises, the run goes on
                working.remove(show)
                logging.getLogger(__name__).exception("a display failed and is left out")

    return observe
