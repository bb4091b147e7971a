"""The catalogue of known encoders: that its facts can be true, and what a model does not know."""

from __future__ import annotations

import re
import time
from importlib import resources

import pytest
import yaml

from llm_tool.trainers import model_sources
from llm_tool.trainers.model_sources import EMBEDDED, catalogue, unknown_languages
from llm_tool.trainers.pretrained import load_tokenizer

ISO_639_1 = set(
    re.findall(
        r"\w\w",
        "AA AB AE AF AK AM AN AR AS AV AY AZ BA BE BG BH BI BM BN BO BR BS CA CE CH CO CR CS CU "
        "CV CY DA DE DV DZ EE EL EN EO ES ET EU FA FF FI FJ FO FR FY GA GD GL GN GU GV HA HE HI "
        "HO HR HT HU HY HZ IA ID IE IG II IK IO IS IT IU JA JV KA KG KI KJ KK KL KM KN KO KR KS "
        "KU KV KW KY LA LB LG LI LN LO LT LU LV MG MH MI MK ML MN MR MS MT MY NA NB ND NE NG NL "
        "NN NO NR NV NY OC OJ OM OR OS PA PI PL PS PT QU RM RN RO RU RW SA SC SD SE SG SI SK SL "
        "SM SN SO SQ SR SS ST SU SV SW TA TE TG TH TI TK TL TN TO TR TS TT TW TY UG UK UR UZ VE "
        "VI VO WA WO XH YI YO ZA ZH ZU",
    )
)
# In the spelling of the hub.
LICENCES = {"apache-2.0", "mit", "unknown", *(f"cc-by-{x}4.0" for x in ("", "sa-", "nc-sa-"))}
# As the menu of the studio has room for.
NAME_COLUMN = 45
COMMON = re.findall(r"\w\w", "EN FR DE ES IT PT NL SV DA NO FI PL CS RO EL TR AR RU ZH JA")


def test_the_catalogue_has_about_forty_models_each_once() -> None:
    ids = [entry.id.lower() for entry in catalogue()]

    assert 38 <= len(ids) <= 44
    assert len(set(ids)) == len(ids)
    # Two models of one name could not be told apart by it.
    names = [name for entry in catalogue() for name in entry.last_names if name]
    assert len(set(names)) == len(names)


def test_models_come_smallest_first_and_those_of_a_size_by_name() -> None:
    order = [(entry.parameters, entry.id.lower()) for entry in catalogue()]

    assert order == sorted(order)


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.id)
def test_every_fact_about_a_model_is_one_that_can_be_true(
    entry: model_sources.CatalogueEntry,
) -> None:
    assert entry.id == EMBEDDED or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.id)
    assert entry.languages
    assert all(isinstance(code, str) for code in entry.languages)  # YAML reads a bare NO as false
    assert set(entry.languages) <= ISO_639_1 or entry.languages == ("*",)
    assert 1 < entry.parameters < 1000
    assert entry.max_tokens in {512, 2048, 4096, 8192}
    assert entry.licence in LICENCES
    assert len(entry.name or entry.id) <= NAME_COLUMN


def test_what_is_said_of_the_embedded_model_is_true_of_its_files() -> None:
    entry = next(entry for entry in catalogue() if entry.id == EMBEDDED)
    folder = model_sources.locate(EMBEDDED)

    assert entry.name == model_sources.model_name(EMBEDDED)
    assert load_tokenizer(folder)[1] == entry.max_tokens
    weights = (folder / "model.safetensors").stat().st_size  # four bytes for each
    assert entry.parameters == pytest.approx(weights / 4e6, rel=0.01)
    assert "license: apache-2.0" in (folder / "README.md").read_text("utf-8")
    assert entry.licence == "apache-2.0"


@pytest.mark.parametrize("language", COMMON)
def test_a_common_language_has_a_model_to_suggest(language: str) -> None:
    suggested = [entry for entry in catalogue() if entry.knows(language)]

    assert len(suggested) >= 5  # the multilingual ones alone
    own = {entry.id for entry in suggested if "*" not in entry.languages}
    assert own or language in {"PL", "EL"}  # whose own encoders cannot be loaded safely


def test_the_catalogue_is_read_in_less_than_50_ms() -> None:
    text = (resources.files("llm_tool.trainers") / "catalogue.yaml").read_text("utf-8")

    def seconds() -> float:
        start = time.perf_counter()
        yaml.safe_load(text)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.05


@pytest.mark.parametrize(
    ("language", "known"),
    [
        *((code, True) for code in ("EN", "en", " EN ", "EN-GB", "EN_US", "en-Latn-GB", "ENG")),
        *((code, False) for code in ("FR", "FRA", "E", "ENGLISH", "ANGLAIS", "EN/FR", "MULTI", "")),
    ],
)
def test_a_language_is_known_in_any_spelling_of_its_code(language: str, known: bool) -> None:
    english = next(entry for entry in catalogue() if entry.id == EMBEDDED)
    multilingual = next(entry for entry in catalogue() if "*" in entry.languages)

    assert english.knows(language) is known
    assert multilingual.knows(language)


def test_codes_of_three_letters_exist_for_every_language_of_the_catalogue() -> None:
    spoken = {code for entry in catalogue() for code in entry.languages} - {"*"}

    assert set(model_sources._SHORTER.values()) == spoken


@pytest.mark.parametrize(
    ("model", "languages", "unknown"),
    [
        # By the id, in any case, and without the namespace.
        ("almanach/camembert-base", ["FR", "EN"], ("EN",)),
        ("Almanach/CamemBERT-base", ["FR", "EN"], ("EN",)),
        ("camembert-base", ["FR", "EN"], ("EN",)),
        ("bert-base-uncased", ["EN", "FR", "DE"], ("FR", "DE")),
        ("roberta-base", ["FR"], ("FR",)),
        ("distilbert-base-uncased", ["FR"], ("FR",)),
        ("xlm-roberta-base", ["EN", "FR", "XX"], ()),
        ("distilbert-base-multilingual-cased", ["EN", "FR"], ()),
        # By the last part of another repository's id or of a folder: a copy.
        ("KB/bert-base-swedish-cased", ["SV", "DA"], ("DA",)),
        ("/data/models/camembert-base/", ["FR", "EN"], ("EN",)),
        ("C:\\models\\camembert-base", ["FR", "EN"], ("EN",)),
        # The embedded model, by each of its names.
        (EMBEDDED, ["EN", "FR"], ("FR",)),
        ("all-MiniLM-L6-v2", ["EN", "FR"], ("FR",)),
        ("sentence-transformers/all-MiniLM-L6-v2", ["FR"], ("FR",)),
        # A name that anybody's model can have says nothing.
        ("klue/bert-base", ["EN"], ("EN",)),
        ("./bert-base", ["EN"], ()),
        ("./embedded", ["FR"], ()),
        ("/", ["EN"], ()),
        ("", ["EN"], ()),
        # Nothing is known of other models, however similar.
        ("someone/camembert-base-finetuned", ["EN"], ()),
        ("microsoft/deberta-v3-base", ["FR"], ()),
        # Codes are returned as they are in the data; what is no code gives no warning.
        ("camembert-base", ["FR-CA", "FR_FR", "fra", "EN-GB", "EN_US"], ("EN-GB", "EN_US")),
        ("camembert-base", ["ENGLISH", "FRANÇAIS", "OTHER", "E", "EN/FR", "42", "", "MULTI"], ()),
        ("camembert-base", ["UND", "MUL", "MIS", "ZXX"], ()),
        ("camembert-base", ["CEB", "UK", "EN", "EN"], ("CEB", "UK", "EN", "EN")),
        ("NbAiLab/nb-bert-base", ["NO", "NB", "NN", "NOR", "SV"], ("SV",)),
        ("camembert-base", [], ()),
    ],
)
def test_the_languages_that_a_known_model_was_not_trained_on_are_named(
    model: str, languages: list[str], unknown: tuple[str, ...]
) -> None:
    assert unknown_languages(model, languages) == unknown


def test_the_hub_is_probed_with_a_model_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(model_sources, "_hub_files", asked.append)

    assert model_sources.hub_reachable()
    assert len(asked) == 1
    assert "/" in asked[0]
