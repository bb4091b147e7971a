"""A saved model as its folder describes it: what it says of a text, and how it reads one. No torch.

Folders are those of ``llm-tool train``; any other text classifier of transformers is taken too,
with the likeliest of its classes as the label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_tool.config import LongDocuments
from llm_tool.errors import StudioError
from llm_tool.text import shell_word, visible
from llm_tool.trainers.model_files import count_numbers

FACTS = "training.json"
_EVEN_ODDS = 0.5
_BLOCK = 1 << 20
_NAMED = 6  # models of a folder that is none itself
_READ = {".json", ".txt", ".model", ".safetensors"}  # what a prediction depends on


@dataclass(frozen=True)
class Output:
    """One category that a model predicts.

    With a ``threshold`` there are two classes, and a text is of the second from that probability
    on; without one it is of the likeliest class.
    """

    category: str
    classes: tuple[str, ...]
    threshold: float | None = None
    label_key: str = ""
    label_value: str = ""

    @property
    def task(self) -> tuple[str, str]:
        """What the category is about: models of the same can take each other's place."""
        return self.label_key, self.label_value or self.category


@dataclass(frozen=True)
class SavedModel:
    """A model folder. ``max_length`` is ``None`` where only the tokenizer says it.

    A model with ``multi_label`` has one number for each output, any other one for each class.
    """

    folder: Path
    name: str
    language: str
    outputs: tuple[Output, ...]
    multi_label: bool
    max_length: int | None = None
    long_documents: LongDocuments = "truncate"
    window_overlap: float = 0.25

    @property
    def tasks(self) -> tuple[tuple[str, str], ...]:
        """What the model predicts, to tell which models do the same."""
        return tuple(output.task for output in self.outputs)

    @property
    def title(self) -> str:
        """Model and language scope, as messages show them."""
        return visible(" ".join(filter(None, (self.name, self.language))))


def read_saved_model(folder: str | Path) -> SavedModel:
    """Return what a model folder says of its model.

    Raises:
        StudioError: It is no model folder, is damaged, an adapter or a pickle.
    """
    path = Path(folder).expanduser()
    _refuse_other_kinds(path)
    count_numbers(path)
    config = _object(path / "config.json")
    names = _class_names(config, path)
    multi_label = config.get("problem_type") == "multi_label_classification"
    if not (path / FACTS).is_file():
        return _plain(path, names, multi_label)
    facts = _object(path / FACTS)
    try:
        return _trained(path, names, facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudioError(
            f"{FACTS} is damaged: {visible(str(error) or type(error).__name__)}.",
            where=visible(str(path / FACTS)),
            remedy="Bring the file back, or train that model again. Without the file the likeliest "
            "class is predicted.",
        ) from error


def fingerprint(folder: Path) -> str:
    """Return a hash of all files of a model that its predictions depend on.

    Raises:
        StudioError: One of them cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _READ and path.is_file():
                digest.update(f"{path.name}\0{path.stat().st_size}\0".encode(errors="replace"))
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
    except OSError as error:
        raise StudioError(
            f"The model cannot be read: {error.strerror}.", where=visible(str(folder))
        ) from error
    return digest.hexdigest()


def _refuse_other_kinds(path: Path) -> None:
    where = visible(str(path))
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):  # a name that no file can have
        is_folder = exists = False
    if not is_folder:
        raise StudioError(
            "This is a file, not a model folder." if exists else "There is no such model folder.",
            where=where,
            remedy="Give the folder of a saved model, such as models/SESSION/CATEGORY/MODEL, and "
            "the table last.",
        )
    if not (path / "config.json").is_file():
        raise StudioError(
            "The folder has no config.json, so it is not a model.",
            where=where,
            remedy=_models_below(path) or "Give the folder that the result of a training names.",
        )
    if not any(path.glob("*.safetensors")) and not (path / "adapter_config.json").exists():
        raise StudioError(
            "The folder has no safetensors weights.",
            where=where,
            remedy="Other formats can run code when they are loaded; convert the model.",
        )


def _models_below(folder: Path) -> str:
    """Say which model folders are in a folder: of a category, of a session, or of sessions."""
    depths = ("*", "*/*", "*/*/*")
    found = (sorted(folder.glob(f"{depth}/config.json")) for depth in depths)
    models = [str(path.parent) for path in next(filter(None, found), [])]
    if not models:
        return ""
    named = ", ".join(map(shell_word, models[:_NAMED]))
    more = f" and {len(models) - _NAMED:,} more" if len(models) > _NAMED else ""
    return f"Give one of the models in it: {named}{more}."


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StudioError(
            f"{path.name} cannot be read: {visible(str(error))}",
            where=visible(str(path)),
            remedy="Bring the file back, or train that model again.",
        ) from error
    if not isinstance(content, dict):
        raise StudioError(f"{path.name} is not a JSON object.", where=visible(str(path)))
    return content


def _class_names(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the names of the outputs, in their order."""
    named = config.get("id2label")
    if named is None:  # as transformers leaves it out for two classes without names
        named = {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        return tuple(str(named[str(i)]) for i in range(len(named)))
    except (KeyError, TypeError):
        raise StudioError(
            "config.json does not number the classes from 0 on (id2label).",
            where=visible(str(folder)),
            remedy="Save the model again.",
        ) from None


def _plain(folder: Path, names: tuple[str, ...], multi_label: bool) -> SavedModel:
    """Return a model that was trained elsewhere, called by its folder."""
    name = folder.resolve().name
    outputs = [Output(one, (f"not_{one}", one), _EVEN_ODDS, label_value=one) for one in names]
    if not multi_label:
        outputs = [Output(name, names)]
    return SavedModel(folder, name, "", tuple(outputs), multi_label)


def _trained(folder: Path, names: tuple[str, ...], facts: Mapping[str, Any]) -> SavedModel:
    job, settings = facts["result"]["job"], facts["settings"]
    task, labels = job["task"], job["labels"]
    thresholds = {str(name): float(value) for name, value in facts["thresholds"].items()}
    if tuple(task["classes"]) != names:
        raise ValueError("its classes are not those of config.json")
    outputs = [
        Output(
            category=name,
            classes=tuple(map(str, own["classes"])),
            threshold=thresholds[name],
            label_key=str(own["label_key"]),
            label_value=str(own["label_value"]),
        )
        for name, own in (zip(names, labels, strict=True) if labels else ())
    ]
    if not labels:
        key, value = str(task["label_key"]), str(task["label_value"])
        threshold = thresholds.get(value) if value else None
        outputs = [Output(value or key or "default", names, threshold, key, value)]
    treatment = settings["long_documents"]
    if treatment not in ("truncate", "chunk", "exclude"):
        raise ValueError(f"long_documents is {treatment!r}")
    return SavedModel(
        folder=folder,
        name=str(job["model_name"]),
        language=str(job["language"]),
        outputs=tuple(outputs),
        multi_label=bool(labels),
        max_length=int(settings["max_length"]),
        long_documents=treatment,
        window_overlap=float(settings["window_overlap"]),
    )
