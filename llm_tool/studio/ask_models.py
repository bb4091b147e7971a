"""Questions about models: one for all languages or one for each, and which."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llm_tool.modes.scopes import parse_model
from llm_tool.studio.draft import SKIP, Draft, keep
from llm_tool.studio.wizard import BACK, Answer, Option
from llm_tool.text import visible
from llm_tool.trainers.model_sources import (
    EMBEDDED,
    cached_models,
    catalogue,
    embedded_installed,
)

_OTHER, _OTHERS = object(), "\0others"  # no model is called that


def ask_scope(draft: Draft) -> object:
    """Ask whether one model learns all languages, if there are several."""
    if len(draft.languages) < 2:
        return SKIP
    shown = ", ".join(map(visible, draft.languages))
    answer = draft.asker.choose(
        f"Languages: {shown}. One model for all, or one for each?",
        [
            ("one multilingual model, scored in each language", "multilingual"),
            ("one model per language, each on its own rows", "per-language"),
        ],
        default=draft.settings.get("languages", "multilingual"),
    )
    if answer != draft.settings.get("languages", "multilingual"):
        draft.settings.pop("model", None)
    return keep(draft, "languages", answer, unless="multilingual")


def ask_model(draft: Draft) -> object:
    """Ask for the model; with models by language, for that of each language."""
    return _ask_for_each_scope(draft, _choose_model)


def ask_models(draft: Draft) -> object:
    """Ask for the models to compare; with models by language, for those of each language."""
    return _ask_for_each_scope(draft, _choose_models)


def _ask_for_each_scope(
    draft: Draft, choose: Callable[[Draft, str, Sequence[str], Sequence[str]], Answer]
) -> object:
    """Keep what ``choose`` returns: models for all rows, or for each language in turn."""
    before = [parse_model(text) for text in draft.settings.get("model", ())]
    if draft.settings.get("languages") != "per-language":
        models = choose(
            draft, "for all rows", draft.languages, [m for lang, m in before if not lang]
        )
        return keep(draft, "model", models if models is BACK else tuple(models))
    chosen: list[list[str]] = []
    while len(chosen) < len(draft.languages):
        language = draft.languages[len(chosen)]
        own = [model for lang, model in before if lang == language]
        models = choose(draft, f"for {visible(language)}", [language], own)
        if models is not BACK:
            chosen.append([f"{language}={model}" for model in models])
        elif chosen:
            chosen.pop()
        else:
            return BACK
    return keep(draft, "model", tuple(model for models in chosen for model in models))


def _choose_model(
    draft: Draft, what: str, languages: Sequence[str], before: Sequence[str]
) -> Answer:
    """Ask for one model; those that know the languages first, any other by its name."""
    options = _model_options(languages, hub_answers=draft.warmup.hub_answers())
    usable = [option[1] for option in options if len(option) == 2]
    if len(before) == 1 and before[0] not in usable:
        options.insert(0, (visible(before[0]), before[0]))
    default = before[0] if len(before) == 1 else next(iter(usable), None)
    question = "Which model?" if what == "for all rows" else f"Which model {what}?"
    answer = draft.asker.choose(
        question, [*options, ("another: a hub id or a folder", _OTHER)], default=default
    )
    if answer is not _OTHER:
        return answer if answer is BACK else [answer]
    typed = draft.asker.text("Hub id or folder of the model:", "", _not_empty)
    return _choose_model(draft, what, languages, before) if typed is BACK else [typed.strip()]


def _choose_models(
    draft: Draft, what: str, languages: Sequence[str], before: Sequence[str]
) -> Answer:
    """Ask for several models to mark, and for the names of others."""
    options = _model_options(languages, hub_answers=draft.warmup.hub_answers())
    usable: list[tuple[str, str]] = [(o[0], o[1]) for o in options if len(o) == 2]
    known = [value for _, value in usable]
    usable += [(visible(model), model) for model in before if model not in known]
    others = [("others: hub ids or folders", _OTHERS)]
    marked = draft.asker.choose_several(
        f"Which models {what}?", [*usable, *others], before or known[:2]
    )
    if marked is BACK or _OTHERS not in marked:
        return marked
    typed = draft.asker.text("Hub ids or folders, with commas between:", "", _not_empty)
    if typed is BACK:
        return _choose_models(draft, what, languages, before)
    named = [name.strip() for name in typed.split(",") if name.strip()]
    return list(dict.fromkeys([*(m for m in marked if m != _OTHERS), *named]))


def _model_options(languages: Sequence[str], *, hub_answers: bool) -> list[Option]:
    """Return the known models that know the languages, then those on this machine that may not.

    What would have to be downloaded cannot be chosen while the hub is out of reach.
    """
    here = {*cached_models(), *([EMBEDDED] if embedded_installed() else [])}
    known = [m for m in catalogue() if all(map(m.knows, languages))]
    known += [m for m in catalogue() if m.id in here and m not in known]
    options: list[Option] = []
    for entry in known:
        if entry.id == EMBEDDED and EMBEDDED not in here:
            continue
        name = entry.name or entry.id
        spoken = "many" if "*" in entry.languages else ", ".join(entry.languages)
        title = f"{name:45} {entry.parameters:>3.0f} M  {spoken}"
        if entry.id in here:
            options.append((f"{title}, here", entry.id))
        elif hub_answers:
            options.append((title, entry.id))
        else:
            options.append((title, entry.id, "no hub"))
    others = sorted(here - {EMBEDDED} - {entry.id for entry in known})
    return options + [(f"{visible(model):45} on this machine", model) for model in others]


def _not_empty(text: str) -> bool | str:
    return bool(text.strip(" ,")) or "Type a hub id, as org/name, or a folder."
