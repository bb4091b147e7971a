"""A session on paper: one HTML page, LaTeX tables, Markdown, and how it was done in words."""
