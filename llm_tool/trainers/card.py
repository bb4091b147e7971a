"""The model card of a saved model: what it is, what it was made of, how far it can be trusted.

The YAML block is made by huggingface_hub, with the fields and identifiers that the hub accepts
(https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from jinja2 import Environment, PackageLoader, StrictUndefined

from llm_tool import __version__
from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, JobData
from llm_tool.events import JobEnded, Scores
from llm_tool.logs.facts import read_facts
from llm_tool.logs.session import Session
from llm_tool.text import escape_markdown, visible
from llm_tool.trainers.model_sources import EMBEDDED, catalogue, is_folder, language_code

_EMBEDDED_ID = "sentence-transformers/all-MiniLM-L6-v2"  # the embedded model's own page
WEAK = 0.6  # as reinforced_threshold: a class with a lower F1 is named among the limits
_UNKNOWN = "unknown"
_ISO_639_1 = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da "
    "de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy "
    "hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg "
    "li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or "
    "os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta "
    "te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)


@dataclass(frozen=True)
class _Row:
    """A class, label or language: its training, validation and test rows, and its scores.

    ``scores`` are precision, recall and F1 of a class or label, accuracy and macro F1 of a
    language. ``threshold`` is the probability from which a label is said.
    """

    name: str
    rows: tuple[int, ...]
    scores: tuple[float | None, ...]
    threshold: float | None = None


def model_card(
    result: JobEnded, data: JobData, settings: TrainingSettings, session: Session
) -> str:
    """Return the text of README.md for a model that is saved.

    Args:
        result: Its result; of a shared encoder, with the results of its labels.
        data: What it was trained, validated and tested on.
        settings: How it was trained, resolved.
        session: Where it is recorded.
    """
    facts = read_facts(session.folder)
    run: Mapping[str, Any] = next(
        (run for run in facts["runs"] if result.job.id in run["jobs"]), {"dataset": {}}
    )
    name = PurePath(str(run["dataset"].get("name", ""))).name
    judged = result.test or result.best.scores
    environment = Environment(
        loader=PackageLoader("llm_tool.trainers", "templates"),
        finalize=lambda value: escape_markdown(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"score": _score, "threshold": _threshold}
    body = environment.get_template("card.md.jinja").render(
        result=result,
        job=result.job,
        judged=judged,
        classes=list(_classes(result, data)),
        languages=list(_languages(judged, data)),
        spoken=_spoken(result, data),
        sizes=[len(part) for part in _parts(data)],
        weak=[c.name for c in _judged_classes(result) if c.f1 is not None and c.f1 < WEAK],
        weak_below=WEAK,
        data=data,
        data_name=name,
        sha256=run["dataset"].get("sha256", ""),
        settings=settings,
        used=_used(settings),
        base=hub_id(result.job.model),
        licence=licence(result.job.model),
        session_id=session.id,
        versions=facts.get("versions", {}),
        version=__version__,
    )
    metadata = _metadata(result, name, _spoken(result, data))
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n{body}"))


def _metadata(result: JobEnded, data_name: str, languages: Sequence[str]) -> ModelCardData:
    """Return the YAML block: only what is known, and what the hub takes."""
    job = result.job
    base = hub_id(job.model)
    spoken = (language_code(language).lower() for language in languages)
    codes = [code for code in dict.fromkeys(spoken) if code in _ISO_639_1.split()]
    return ModelCardData(
        language=codes or None,
        license=licence(job.model) or None,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["text-classification", "llm-tool-studio", job.kind],
        base_model=base or None,
        metrics=["f1", "accuracy"] if result.test else None,
        model_name=visible(f"{job.task.category} {job.model_name}"),
        eval_results=_eval_results(result, data_name) or None,
    )


def _eval_results(result: JobEnded, data_name: str) -> list[EvalResult]:
    if result.test is None:
        return []
    scores = {"f1": ("Macro F1", result.test.f1_macro)}
    scores |= {"accuracy": ("Accuracy", result.test.accuracy)}
    return [
        EvalResult(
            task_type="text-classification",
            task_name=visible(result.job.task.category),
            dataset_type="private",  # the rows of the user's own table
            dataset_name=visible(data_name) or "own rows",
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, (name, value) in scores.items()
    ]


def hub_id(model: str) -> str:
    """Return the hub's id of the model that was trained on, empty where it is none of the hub's."""
    if model == EMBEDDED:
        return _EMBEDDED_ID
    if is_folder(model):
        return ""
    with suppress(HFValidationError):
        validate_repo_id(model)
        names = {entry.id.lower(): entry.id for entry in catalogue()}
        old = {entry.id.rpartition("/")[2].lower(): entry.id for entry in catalogue()}
        # Ids of the hub's first years had no namespace; the hub still takes them.
        return names.get(model.lower()) or ("" if "/" in model else old.get(model.lower())) or model
    return ""


def licence(model: str) -> str:
    """Return the licence of the model that was trained on, empty where it is not known."""
    known = {EMBEDDED: EMBEDDED} | {entry.id: entry.id for entry in catalogue()}
    found = known.get(model) or known.get(hub_id(model))
    own = next((entry.licence for entry in catalogue() if entry.id == found), _UNKNOWN)
    return "" if own == _UNKNOWN else own


def _parts(data: JobData) -> tuple[Examples, Examples, Examples]:
    return data.train, data.validation, data.test


def _judged_classes(result: JobEnded) -> Iterator[Any]:
    """Yield the scores of each class; of yes-or-no labels only those of the yes."""
    for own in result.labels or (result,):
        judged = own.test or own.best.scores
        yield from judged.classes[1:] if own.job.task.label_value else judged.classes


def _classes(result: JobEnded, data: JobData) -> Iterator[_Row]:
    """Yield each class, or each label of a shared encoder, with its rows in each part."""
    for i, own in enumerate(result.labels or (result,)):
        judged = own.test or own.best.scores
        yes_only = bool(result.labels)
        for position, one in enumerate(judged.classes):
            if yes_only and not position:
                continue
            labels = [part.labels[:, i] if yes_only else part.labels for part in _parts(data)]
            rows = tuple(int(np.sum(values == position)) for values in labels)
            threshold = own.threshold if position else None
            yield _Row(one.name, rows, (one.precision, one.recall, one.f1), threshold)


def _spoken(result: JobEnded, data: JobData) -> list[str]:
    """Return the languages of the task that the model learned from: of one language, only that."""
    learned = set(data.train.languages)
    return [language for language in result.job.task.languages if language in learned]


def _languages(judged: Scores, data: JobData) -> Iterator[_Row]:
    for one in judged.languages:
        rows = tuple(list(part.languages).count(one.language) for part in _parts(data))
        if any(rows):
            yield _Row(one.language, rows, (one.accuracy, one.f1_macro))


def _used(settings: TrainingSettings) -> dict[str, Any]:
    """Return the settings that had a part in the training."""
    idle = ["threads"]
    idle += [] if settings.reinforced else ["reinforced_"]
    idle += [] if settings.long_documents == "chunk" else ["window_overlap"]
    return {
        name: value
        for name, value in settings
        if name in TrainingSettings.model_fields
        and value is not None
        and not name.startswith(tuple(idle))
    }


def _threshold(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
