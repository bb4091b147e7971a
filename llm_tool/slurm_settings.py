"""What a job asks of a SLURM cluster. Part of the settings of a run, under the same flat keys."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llm_tool.text import visible

_TIME = re.compile(r"\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d+(:\d\d){0,2}", re.ASCII)
_MEMORY = re.compile(r"\d+[KMGT]?", re.ASCII)
_TEXTS = "slurm_partition", "slurm_account", "slurm_time", "slurm_memory", "slurm_constraint"

# What a run can ask for anew when it goes on: no number depends on it, as on the kind of processor,
# the threads and the processes of a job.
ASKED_ANEW = frozenset(
    {
        "slurm_partition", "slurm_account", "slurm_time", "slurm_memory", "slurm_constraint",
        "slurm_parallel", "slurm_setup", "slurm_resubmit",
    }
)  # fmt: skip


class SlurmSettings(BaseModel):
    """How jobs are handed to SLURM; what is ``None`` is left to the cluster's own defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slurm_partition: str | None = Field(None, description="Partition that jobs run in.")
    slurm_account: str | None = Field(None, description="Account that jobs are charged to.")
    slurm_time: str | None = Field(
        None,
        description="Time limit of a job, as `90` minutes, `4:00:00` or `1-12`; one that is not "
        "done by then is requeued and goes on.",
    )
    slurm_memory: str | None = Field(None, description="Memory of a job on each node, as `16G`.")
    slurm_cpus: int | None = Field(
        None, ge=1, description="CPUs of a job, and its threads. Default: those of `threads`."
    )
    slurm_gpus: int = Field(0, ge=0, description="GPUs of a job on each node.")
    slurm_nodes: int = Field(1, ge=1, description="Nodes that train one job together.")
    slurm_constraint: str | None = Field(None, description="Features that a node must have.")
    slurm_parallel: int | None = Field(
        None, ge=1, description="Jobs that run at the same time at most. Default: no limit."
    )
    slurm_setup: tuple[str, ...] = Field(
        (), description="Lines of shell before each job, as `module load cuda`; a list."
    )
    slurm_resubmit: int = Field(
        3,
        ge=0,
        description="How many times a job that was lost, with its node or by scancel, is "
        "submitted again.",
    )

    @field_validator(*_TEXTS, mode="before")
    @classmethod
    def _numbers_are_words_too(cls, value: object) -> object:
        # As a file has them: `slurm_time: 90`, `slurm_account: 4711`.
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("slurm_partition", "slurm_account", "slurm_constraint")
    @classmethod
    def _names_are_one_word(cls, name: str | None) -> str | None:
        if name is not None and (visible(name) != name or len(name.split()) != 1 or " " in name):
            raise ValueError(f"'{visible(name)}' is not one word")
        return name

    @field_validator("slurm_time")
    @classmethod
    def _times_are_those_of_sbatch(cls, time: str | None) -> str | None:
        if time is not None and not _TIME.fullmatch(time):
            raise ValueError(f"'{visible(time)}' is no time limit")
        return time

    @field_validator("slurm_memory")
    @classmethod
    def _memory_is_that_of_sbatch(cls, memory: str | None) -> str | None:
        if memory is not None and not _MEMORY.fullmatch(memory):
            raise ValueError(f"'{visible(memory)}' is no amount of memory")
        return memory

    @field_validator("slurm_setup", mode="before")
    @classmethod
    def _each_line_is_one(cls, lines: object) -> object:
        given = (lines,) if isinstance(lines, str) else lines
        if not isinstance(given, list | tuple):
            return given
        several = [re.split(r"\r\n|\r|\n", one) if isinstance(one, str) else [one] for one in given]
        return tuple(line for own in several for line in own if line != "")

    @property
    def slurm_given(self) -> tuple[str, ...]:
        """The names of those that differ from their defaults."""
        fields = SlurmSettings.model_fields
        return tuple(n for n in fields if getattr(self, n) != fields[n].get_default())
