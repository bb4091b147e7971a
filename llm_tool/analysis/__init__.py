"""What trained models say about each other: rankings, comparisons."""
