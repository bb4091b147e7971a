"""The methods paragraph in English."""

from __future__ import annotations

from collections.abc import Sequence

from llm_tool.analysis.report.methods import Method, Range

_DEVICES = {"cpu": "a CPU", "cuda": "a GPU (CUDA)", "mps": "an Apple GPU"}
_MONITORS = {
    "f1_macro": "macro F1",
    "f1_weighted": "weighted F1",
    "accuracy": "accuracy",
    "val_loss": "loss",
}
_LONG = {
    "cut": "cut",
    "chunked": "read in overlapping windows, whose outputs were averaged",
    "excluded": "left out",
}


def paragraph(method: Method) -> str:
    """Return how a run was done, in sentences for the methods section of a paper."""
    sentences = [
        *_task(method), *_data(method), *_training(method), *_selection(method),
        *_evaluation(method), *_tools(method),
    ]  # fmt: skip
    return " ".join(sentences)


def _task(method: Method) -> list[str]:
    models = listed([_model(model.name, model.parameters) for model in method.models])
    said = [f"We fine-tuned {models} as text classifiers on the data “{method.data}”."]
    if method.keys:
        keys = listed([f"the {number(n)} classes of “{name}”" for name, n in method.keys])
        each = ", each column by a model of its own" if len(method.keys) > 1 else ""
        said.append(f"They learned to tell apart {keys}{each}.")
    if method.labels:
        labels = listed([f"“{label}”" for label in method.labels])
        how = (
            "One network with an output for each label learned"
            if method.shared_encoder
            else "A yes-or-no model each learned"
        )
        said.append(f"{how} {labels}.")
    scopes = [model for model in method.models if model.language not in ("", "MULTI")]
    if scopes:
        own = listed([f"{model.name} for {model.language}" for model in scopes])
        said.append(f"Each language had its own model ({own}).")
    return said


def _model(name: str, parameters: int) -> str:
    return f"{name} ({parameters / 1e6:.1f} million parameters)" if parameters > 1e5 else name


def _data(method: Method) -> list[str]:
    train, validation, test = method.rows
    said = []
    if method.languages:
        said.append(f"The texts are in {listed(method.languages)}.")
    parts = f"{spread(train)} texts were used for training and {spread(validation)} for validation"
    tested = f"; {spread(test)} test texts were used once, after training" if test[1] else ""
    each = " (per training)" if method.trainings > 1 else ""
    said.append(f"{parts}{each}{tested}.")
    column = method.config.get("split_column")
    if method.folds > 1:
        said.append(
            f"Test texts were rotated in {method.folds}-fold cross-validation, stratified by label "
            "and language."
        )
    elif column == "none":
        said.append("The parts were drawn at random, stratified by label and language.")
    elif column:
        said.append(f"The parts are those of the column “{column}”.")
    if method.config.get("group_column"):
        said.append(
            f"Texts with one value of “{method.config['group_column']}” stayed in one part."
        )
    return said


def _training(method: Method) -> list[str]:
    config = method.config
    said = [
        f"Training took {counted(method.epochs, 'epoch')} with batches of "
        f"{counted(method.batch_size, 'text')} and AdamW at a peak learning rate of "
        f"{spread(method.learning_rate)}{_schedule(method)}."
    ]
    longest = f"The longest input was {counted(method.max_length, 'token')}"
    long = [
        f"up to {counted(count, 'longer text')} {'was' if count == 1 else 'were'} {_LONG[how]}"
        for how, count in method.long_texts
    ]
    said.append(f"{longest}; {listed(long)}." if long else f"{longest}.")
    if config.get("class_weights") == "balanced":
        said.append("In the loss, classes were weighted by the inverse of their frequency.")
    if config.get("oversample") == "balanced":
        said.append("Training texts of rarer classes were drawn more often, 10 times at most.")
    begun, kept = method.reinforced
    if begun:
        said.append(
            f"Classes with a validation F1 below {config['reinforced_threshold']:g} were trained "
            f"for up to {counted(config['reinforced_epochs'], 'more epoch')}, drawn "
            f"{config['reinforced_oversampling']:g} times as often and weighing "
            f"{config['reinforced_class_weight']:g} times as much ({number(begun)} of "
            f"{number(method.trainings)} trainings; the result was kept in {number(kept)})."
            if "reinforced_threshold" in config
            else f"A reinforced phase for weak classes followed in {number(begun)} trainings."
        )
    return said


def _schedule(method: Method) -> str:
    config = method.config
    if "warmup_share" not in config or "weight_decay" not in config:
        return ""
    return (
        f" (weight decay {config['weight_decay']:g}, warm-up over {100 * config['warmup_share']:g} "
        "% of the steps, then linear decay)"
    )


def _selection(method: Method) -> list[str]:
    metric = _MONITORS.get(method.monitor, method.monitor)
    best = "lowest" if method.monitor == "val_loss" else "highest"
    said = [f"The epoch with the {best} {metric} on the validation texts was kept."]
    if method.config.get("patience"):
        epochs = counted(method.config["patience"], "epoch")
        said.append(f"Training stopped after {epochs} without a better one.")
    if method.thresholds:
        said.append(
            "For yes-or-no labels, the probability from which a text has the label was chosen on "
            "the validation texts for the highest macro F1."
        )
    seeds = listed([f"{seed}" for seed in method.seeds])
    if len(method.seeds) > 1:
        said.append(f"Each model was trained with {len(method.seeds)} seeds ({seeds}).")
    else:
        said.append(f"The seed was {seeds}.")
    if method.shares:
        shares = listed([number(100 * share) for share in method.shares])
        said.append(
            f"For a learning curve, models were also trained on {shares} % of the training texts."
        )
    return said


def _evaluation(method: Method) -> list[str]:
    if not method.intervals:
        return []
    return [
        "Intervals of the test macro F1 are 95 % bootstrap intervals over the test texts, "
        "stratified by true class."
    ]


def _tools(method: Method) -> list[str]:
    names = {"llm-tool": "llm-tool studio", "python": "Python", "torch": "PyTorch"}
    used = ("llm-tool", "python", "torch", "transformers", "scikit-learn")
    versions = [f"{names.get(u, u)} {method.versions[u]}" for u in used if u in method.versions]
    said = [f"We used {listed(versions)}."] if versions else []
    devices = listed([_DEVICES.get(device, device) for device in method.devices])
    return [*said, f"Models were trained on {devices} in {listed(method.precisions)} arithmetic."]


def number(value: float) -> str:
    """Return a number as it is written in English."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}".replace("e-0", "e-")


def spread(numbers: Range) -> str:
    """Return a number, or the two between which there are others."""
    low, high = numbers
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def counted(numbers: Range | int, noun: str) -> str:
    """Return a number, or two, with a noun: ``1 epoch``, ``3 to 5 epochs``."""
    low, high = numbers if isinstance(numbers, tuple) else (numbers, numbers)
    return f"{spread((low, high))} {noun}{'' if low == high == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names as an enumeration: ``a, b and c``."""
    *first, last = names or ("",)
    return f"{', '.join(first)} and {last}" if first else last
