"""Exit codes; 0 is done."""

SOME_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
