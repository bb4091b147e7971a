"""Requests to stop: the first waits for the end of a write, the second does not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from llm_tool.stopping import finishing, pause_asked, pause_on, pause_signal, stoppable

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def ask(name: str = "SIGTERM") -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_signals_stops_the_program_at_once(name: str) -> None:
    with pytest.raises(KeyboardInterrupt), stoppable():
        ask(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_write_that_has_begun_is_finished_first(name: str) -> None:
    done = []

    def work() -> None:
        with finishing():
            ask(name)
            with finishing():
                done.append("within")
            done.append("written")
        done.append("more")

    with pytest.raises(KeyboardInterrupt), stoppable():
        work()
    assert done == ["within", "written"]


def test_a_second_request_does_not_wait() -> None:
    done = []

    def write() -> None:
        with finishing():
            ask()
            done.append("first half")
            ask()
            done.append("second half")

    with pytest.raises(KeyboardInterrupt), stoppable():
        write()
    assert done == ["first half"]


def test_a_write_that_fails_says_why_also_when_it_was_to_be_the_last() -> None:
    def write() -> None:
        with finishing():
            ask()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), stoppable():
        write()


def test_what_is_written_after_the_first_request_is_cut_short_by_a_second_one_only() -> None:
    done = []

    def leave() -> None:
        try:
            ask()
        finally:
            with finishing():
                done.append("the end is noted")

    with pytest.raises(KeyboardInterrupt), stoppable():
        leave()
    assert done == ["the end is noted"]


def test_a_signal_that_is_ignored_stays_so_as_nohup_asks() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            ask("SIGHUP")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_can_leave_signals_to_its_owner() -> None:
    with stoppable(ignore=("SIGINT", "SIGHUP")):
        ask("SIGINT")
        ask("SIGHUP")
        with pytest.raises(KeyboardInterrupt):
            ask("SIGTERM")


def test_afterwards_the_signals_mean_what_they_meant() -> None:
    before = [signal.getsignal(getattr(signal, name)) for name in NAMES]
    with stoppable():
        assert [signal.getsignal(getattr(signal, name)) for name in NAMES] != before
    assert [signal.getsignal(getattr(signal, name)) for name in NAMES] == before


def test_in_another_thread_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stoppable(), finishing():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_signals_ask_for_a_pause_only_while_somebody_wants_them_to() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pause_on("SIGTERM", "SIGUSR1", "SIGNOTHERE"):
        assert not pause_asked()
        ask("SIGUSR1")
        assert pause_asked()
        assert pause_signal() == "SIGUSR1"
        ask("SIGTERM")
        assert pause_signal() == "SIGUSR1"
    assert not pause_asked()
    assert signal.getsignal(signal.SIGTERM) is before
