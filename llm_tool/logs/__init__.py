"""What a training session leaves on disk: session folder, journals, metrics CSVs."""

from llm_tool.logs.metrics_csv import read_metrics
from llm_tool.logs.session import Session

__all__ = ["Session", "read_metrics"]
