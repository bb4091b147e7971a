"""Which models answer together, and the columns that their answers are written to. No torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_tool.errors import StudioError
from llm_tool.inference.models import Output, SavedModel
from llm_tool.plan import MULTILINGUAL
from llm_tool.text import visible


@dataclass(frozen=True)
class Group:
    """Models of the same categories, by their positions: one, or one for each language."""

    models: tuple[SavedModel, ...]
    positions: tuple[int, ...]

    @property
    def routes(self) -> bool:
        """Whether the language of a row says which model it goes to."""
        return len(self.models) > 1

    @cached_property
    def _by_language(self) -> dict[str, int]:
        return dict(zip((m.language for m in self.models), self.positions, strict=True))

    def model_for(self, language: str) -> int | None:
        """Return the position of the model that a row goes to; ``None``: no model knows it.

        One for ``EN`` takes ``EN-GB`` too, and one for several languages takes all others.
        """
        if not self.routes:
            return self.positions[0]
        short = language.replace("_", "-").split("-")[0]
        known = (self._by_language.get(name) for name in (language, short, MULTILINGUAL))
        return next((position for position in known if position is not None), None)


@dataclass(frozen=True)
class Channel:
    """What one category's columns are filled from: an output of a group's models.

    ``name`` is what the columns begin with; ``classes`` are those of all the models.
    """

    name: str
    group: int
    output: int
    classes: tuple[str, ...]
    yes_or_no: bool

    def columns(self, *, with_classes: bool) -> list[str]:
        """Return the names of the columns."""
        return _names(self.name, self.classes if with_classes else ())


def group_models(models: Sequence[SavedModel]) -> list[Group]:
    """Return the models that answer together, in the order in which they were given.

    Models of the same categories take each other's place where each has a language of its own;
    else where that is so of those with the same name.

    Raises:
        StudioError: A model is given twice.
    """
    folders = [model.folder.resolve() for model in models]
    twice = next((folder for folder, count in Counter(folders).items() if count > 1), None)
    if twice is not None:
        raise StudioError("This model is given twice.", where=visible(str(twice)))
    alike: defaultdict[object, list[int]] = defaultdict(list)
    for position, model in enumerate(models):
        alike[model.tasks].append(position)
    groups = [group for own in alike.values() for group in _in_languages(models, own)]
    groups.sort()
    return [Group(tuple(models[i] for i in group), tuple(group)) for group in groups]


def _in_languages(models: Sequence[SavedModel], own: list[int]) -> Iterator[list[int]]:
    if _differ(models, own):
        yield own
        return
    by_name: defaultdict[str, list[int]] = defaultdict(list)
    for position in own:
        by_name[models[position].name].append(position)
    for named in by_name.values():
        yield from [named] if _differ(models, named) else [[position] for position in named]


def _differ(models: Sequence[SavedModel], own: Sequence[int]) -> bool:
    languages = {models[i].language for i in own}
    return len(languages) == len(own) and "" not in languages


def make_channels(
    groups: Sequence[Group], present: Collection[str], *, with_classes: bool
) -> tuple[list[Channel], list[str]]:
    """Return the columns to add, with names that no other column has, and what to say of them.

    Args:
        groups: The models.
        present: The columns that the table has.
        with_classes: Whether there is a column for each class.
    """
    outputs = [
        (number, i, group.models[0], output)
        for number, group in enumerate(groups)
        for i, output in enumerate(group.models[0].outputs)
    ]
    wanted = _distinct([_candidates(model, out, groups[n]) for n, _, model, out in outputs])
    present_names, taken = set(present), set(present)
    channels: list[Channel] = []
    notes: list[str] = []
    for (number, i, _, output), name in zip(outputs, wanted, strict=True):
        every = [own.outputs[i].classes for own in groups[number].models]
        classes = tuple(dict.fromkeys(c for own in every for c in own))
        own_classes = classes if with_classes else ()
        free = _free(name, own_classes, taken)
        if free != name and not present_names.isdisjoint(_names(name, own_classes)):
            notes.append(
                f"There is a column {visible(name)}_label or {visible(name)}_probability already: "
                f"the new ones begin with {visible(free)}_."
            )
        yes_or_no = output.threshold is not None
        channels.append(Channel(free, number, i, classes, yes_or_no))
        taken.update(channels[-1].columns(with_classes=with_classes))
    return channels, notes


def _candidates(model: SavedModel, output: Output, group: Group) -> list[str]:
    """Return names for a category, the shortest first."""
    category = output.category
    key = f"{output.label_key}_{output.label_value}" if output.label_value else category
    name = model.name.rstrip("/").rpartition("/")[2]
    language = "" if group.routes else model.language
    return [
        category,
        key,
        f"{category}_{name}",
        "_".join(filter(None, (category, name, language))),
        f"{category}_{model.folder.resolve().name}",
    ]


def _distinct(candidates: Sequence[list[str]]) -> list[str]:
    """Return for each the first candidate that tells it from all others of its category."""
    same = Counter(own[0] for own in candidates)
    chosen = []
    for own in candidates:
        rivals = [other for other in candidates if other[0] == own[0] and other is not own]
        telling = (name for i, name in enumerate(own) if all(rival[i] != name for rival in rivals))
        chosen.append(own[0] if same[own[0]] == 1 else next(telling, own[-1]))
    return chosen


def _free(name: str, classes: Sequence[str], taken: set[str]) -> str:
    free, number = name, 2
    while not taken.isdisjoint(_names(free, classes)):
        free, number = f"{name}_{number}", number + 1
    return free


def _names(name: str, classes: Sequence[str]) -> list[str]:
    return [
        f"{name}_label",
        f"{name}_probability",
        *(f"{name}_probability_{one}" for one in classes),
    ]
