"""What a job asks of a SLURM cluster. Part of the settings of a run, under the same flat keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SlurmSettings(BaseModel):
    """How jobs are handed to SLURM; what is ``None`` is left to the cluster's own defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slurm_partition: str | None = Field(None, description="Partition that jobs run in.")
    slurm_account: str | None = Field(None, description="Account that jobs are charged to.")
    slurm_time: str | None = Field(
        None,
        pattern=r"^(\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d+(:\d\d){0,2})$",
        description="Time limit of a job, as `90` minutes, `4:00:00` or `1-12`; one that is not "
        "done by then is requeued and goes on.",
    )
    slurm_memory: str | None = Field(
        None, pattern=r"^\d+[KMGT]?$", description="Memory of a job on each node, as `16G`."
    )
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
