"""One module for each family of files; all of them give ``Rows``."""
