"""Tables of labelled texts: loading, columns, splits, tokens."""
