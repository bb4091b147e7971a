"""Kills and failing disks: what they cost a run, counted. ``python -m tests.faults --help``."""
