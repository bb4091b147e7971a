"""Apply saved models to texts that nobody labelled."""
