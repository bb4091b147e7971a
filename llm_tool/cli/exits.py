"""Exit codes; 0 is done."""

SOME_FAILED, BAD_INPUT, PAUSED, INTERRUPTED = 1, 2, 75, 130
