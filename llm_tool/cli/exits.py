"""Exit codes; 0 is done. A job that pauses has ``stopping.PAUSED``."""

SOME_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
