"""The methods paragraph in French, with its typography: no-break spaces, guillemets, comma."""

from __future__ import annotations

from collections.abc import Sequence

from llm_tool.analysis.report.methods import Method, Range

NBSP, THIN = "\u00a0", "\u202f"  # no-break spaces: before : % », and before ; and in numbers
_DEVICES = {"cpu": "processeur (CPU)", "cuda": "processeur graphique (CUDA)"}
_DEVICES["mps"] = "processeur graphique Apple"
_MONITORS = {
    "f1_macro": "le F1 macro",
    "f1_weighted": "le F1 pondéré",
    "accuracy": "l’exactitude",
    "val_loss": "la perte",
}
_LONG = {
    "cut": ("a été tronqué", "ont été tronqués"),
    "chunked": (
        "a été lu par fenêtres chevauchantes, dont les sorties ont été moyennées",
        "ont été lus par fenêtres chevauchantes, dont les sorties ont été moyennées",
    ),
    "excluded": ("a été écarté", "ont été écartés"),
}


def paragraph(method: Method) -> str:
    """Return how a run was done, in French sentences for the methods section of a paper."""
    sentences = [
        *_task(method), *_data(method), *_training(method), *_selection(method),
        *_evaluation(method), *_tools(method),
    ]  # fmt: skip
    return " ".join(sentences)


def _task(method: Method) -> list[str]:
    models = listed([_model(model.name, model.parameters) for model in method.models])
    said = [
        f"Nous avons ajusté (fine-tuning) {models} pour la classification de textes sur les "
        f"données {quoted(method.data)}."
    ]
    if method.keys:
        keys = listed([f"les {number(n)} classes de {quoted(name)}" for name, n in method.keys])
        each = ", avec un modèle par colonne" if len(method.keys) > 1 else ""
        said.append(f"Il s’agit de distinguer {keys}{each}.")
    if method.labels:
        labels = listed([quoted(label) for label in method.labels])
        how = (
            "Un seul réseau, avec une sortie par étiquette, a appris"
            if method.shared_encoder
            else "Un modèle binaire par étiquette a appris"
        )
        said.append(f"{how} {labels}.")
    scopes = [model for model in method.models if model.language not in ("", "MULTI")]
    if scopes:
        own = listed([f"{model.name} pour {model.language}" for model in scopes])
        said.append(f"Chaque langue a son propre modèle ({own}).")
    return said


def _model(name: str, parameters: int) -> str:
    millions = f"{parameters / 1e6:.1f}".replace(".", ",")
    return f"{name} ({millions}{NBSP}millions de paramètres)" if parameters > 1e5 else name


def _data(method: Method) -> list[str]:
    train, validation, test = method.rows
    said = []
    if method.languages:
        said.append(f"Langues des textes{NBSP}: {listed(method.languages)}.")
    each = " (par entraînement)" if method.trainings > 1 else ""
    tested = (
        f"{THIN}; l’évaluation finale, effectuée une seule fois, porte sur {texts(test)} de test"
        if test[1]
        else ""
    )
    said.append(
        f"L’entraînement porte sur {texts(train)} et la validation sur {texts(validation)}"
        f"{each}{tested}."
    )
    column = method.config.get("split_column")
    if method.folds > 1:
        said.append(
            f"Les textes de test changent à chaque pli d’une validation croisée à {method.folds} "
            "plis, stratifiée par étiquette et par langue."
        )
    elif column == "none":
        said.append(
            "La répartition a été tirée au sort, avec stratification par étiquette et par langue."
        )
    elif column:
        said.append(f"La répartition est celle de la colonne {quoted(column)}.")
    if method.config.get("group_column"):
        said.append(
            f"Les textes qui partagent une valeur de {quoted(method.config['group_column'])} sont "
            "restés ensemble."
        )
    return said


def _training(method: Method) -> list[str]:
    config = method.config
    said = [
        f"L’entraînement a duré {counted(method.epochs, 'époque')}, par lots de "
        f"{texts(method.batch_size)}, avec AdamW et un taux d’apprentissage maximal de "
        f"{spread(method.learning_rate)}{_schedule(method)}."
    ]
    longest = f"La longueur maximale est de {counted(method.max_length, 'token')}"
    long = [
        f"jusqu’à {number(count)} texte{'s' if count > 1 else ''} plus long"
        f"{'s' if count > 1 else ''} {_LONG[how][count > 1]}"
        for how, count in method.long_texts
    ]
    said.append(f"{longest}{THIN}; {listed(long)}." if long else f"{longest}.")
    if config.get("class_weights") == "balanced":
        said.append(
            "Dans la fonction de perte, les classes sont pondérées par l’inverse de leur fréquence."
        )
    if config.get("oversample") == "balanced":
        said.append(
            "Les textes d’entraînement des classes plus rares ont été tirés plus souvent, 10 fois "
            "au plus."
        )
    return said + _reinforced(method)


def _reinforced(method: Method) -> list[str]:
    config, (begun, kept) = method.config, method.reinforced
    if not begun:
        return []
    if "reinforced_threshold" not in config:
        return [
            "Une phase renforcée pour les classes faibles a suivi dans "
            f"{counted(begun, 'entraînement')}."
        ]
    return [
        "Les classes dont le F1 de validation est inférieur à "
        f"{number(config['reinforced_threshold'])} ont été entraînées pendant "
        f"{counted(config['reinforced_epochs'], 'époque')} de plus au maximum, tirées "
        f"{number(config['reinforced_oversampling'])} fois plus souvent et pesant "
        f"{number(config['reinforced_class_weight'])} fois plus ({number(begun)} sur "
        f"{counted(method.trainings, 'entraînement')}{THIN}; résultat conservé dans "
        f"{number(kept)} cas)."
    ]


def _schedule(method: Method) -> str:
    config = method.config
    if "warmup_share" not in config or "weight_decay" not in config:
        return ""
    share = number(round(100 * config["warmup_share"], 4))
    return (
        f" (weight decay de {number(config['weight_decay'])}, montée sur {share}{NBSP}% des pas, "
        "puis décroissance linéaire)"
    )


def _selection(method: Method) -> list[str]:
    metric = _MONITORS.get(method.monitor, method.monitor)
    best = "minimise" if method.monitor == "val_loss" else "maximise"
    said = [f"L’époque retenue est celle qui {best} {metric} sur les textes de validation."]
    if method.config.get("patience"):
        epochs = counted(method.config["patience"], "époque")
        said.append(f"L’entraînement s’arrêtait après {epochs} sans amélioration.")
    if method.thresholds:
        said.append(
            "Pour les étiquettes binaires, la probabilité à partir de laquelle un texte porte "
            "l’étiquette a été choisie sur les textes de validation, pour le F1 macro le plus "
            "élevé."
        )
    seeds = listed([f"{seed}" for seed in method.seeds])
    if len(method.seeds) > 1:
        said.append(
            f"Chaque modèle a été entraîné avec {len(method.seeds)} graines aléatoires ({seeds})."
        )
    else:
        said.append(f"La graine aléatoire est {seeds}.")
    if method.shares:
        shares = listed([number(100 * share) for share in method.shares])
        said.append(
            f"Pour une courbe d’apprentissage, les modèles ont aussi été entraînés sur {shares}"
            f"{NBSP}% des textes d’entraînement."
        )
    return said


def _evaluation(method: Method) -> list[str]:
    if not method.intervals:
        return []
    return [
        f"Les intervalles du F1 macro de test sont des intervalles à 95{NBSP}% par bootstrap "
        "sur les textes de test, stratifié selon la classe réelle."
    ]


def _tools(method: Method) -> list[str]:
    names = {"llm-tool": "llm-tool studio", "python": "Python", "torch": "PyTorch"}
    used = ("llm-tool", "python", "torch", "transformers", "scikit-learn")
    versions = [f"{names.get(u, u)} {method.versions[u]}" for u in used if u in method.versions]
    said = [f"Logiciels{NBSP}: {listed(versions)}."] if versions else []
    devices = listed([_DEVICES.get(device, device) for device in method.devices])
    return [*said, f"Matériel{NBSP}: {devices}, arithmétique {listed(method.precisions)}."]


def number(value: float) -> str:
    """Return a number as it is written in French: ``1 200``, ``0,6``."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:g}".replace("e-0", "e-")
    return text.replace(",", THIN).replace(".", ",")


def spread(numbers: Range) -> str:
    """Return a number, or the two between which there are others."""
    low, high = numbers
    return number(low) if low == high else f"{number(low)} à {number(high)}"


def counted(numbers: Range | int, noun: str) -> str:
    """Return a number, or two, with a noun: ``1 époque``, ``3 à 5 époques``."""
    low, high = numbers if isinstance(numbers, tuple) else (numbers, numbers)
    return f"{spread((low, high))} {noun}{'s' if high >= 2 else ''}"


def texts(numbers: Range) -> str:
    """Return a number of texts."""
    return counted(numbers, "texte")


def listed(names: Sequence[str]) -> str:
    """Return names as an enumeration: ``a, b et c``."""
    *first, last = names or ("",)
    return f"{', '.join(first)} et {last}" if first else last


def quoted(text: str) -> str:
    """Return text between guillemets."""
    return f"«{NBSP}{text}{NBSP}»"
