"""Experiment trackers: a run of theirs for each job, fed by the events, in local folders only."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from llm_tool.errors import StudioError
from llm_tool.text import shell_word

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.events import Observer
    from llm_tool.logs.session import Session
    from llm_tool.trackers.tracking import Store

# What each tracker needs beyond what is always there: its extra brings it.
_NEEDS = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "trackio": ("trackio",),
}


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that trackers can be used, without loading them.

    Raises:
        StudioError: One is not installed.
    """
    for name in names:
        if not all(find_spec(package) for package in _NEEDS[name]):
            raise StudioError(
                f"The tracker {name} is not installed.",
                remedy=f'Install it: pip install "llm-tool[{name}]"; or leave it out.',
            )


def make_trackers(config: RunConfig, session: Session) -> list[Observer]:
    """Return an observer for each tracker that a run asks for.

    Raises:
        StudioError: One is not installed.
    """
    from llm_tool.trackers.tracking import Tracking

    check_trackers(config.tracker)
    names = dict.fromkeys(config.tracker)
    return [Tracking(_store(name, session), session, config.chosen()) for name in names]


def look_commands(config: RunConfig, session: Session) -> dict[str, str]:
    """Return the command that shows what each tracker of a run was told."""
    logs = session.logs_dir
    folder, database = shell_word(str(logs)), shell_word(f"sqlite:///{logs.as_posix()}/mlflow.db")
    place = shell_word(str(logs / "trackio"))
    commands = {
        "tensorboard": f"tensorboard --logdir {folder}",
        "mlflow": f"mlflow ui --backend-store-uri {database}",
        "trackio": f"TRACKIO_DIR={place} trackio show --project {session.id}",
    }
    return {name: commands[name] for name in config.tracker}


def _store(name: str, session: Session) -> Store:
    if name == "tensorboard":
        from llm_tool.trackers.tensorboard_store import TensorboardStore

        return TensorboardStore(session.folder / "tensorboard")
    if name == "mlflow":
        from llm_tool.trackers.mlflow_store import MlflowStore

        return MlflowStore(session.logs_dir)
    from llm_tool.trackers.trackio_store import TrackioStore

    return TrackioStore(session.logs_dir / "trackio")
