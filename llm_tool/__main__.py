"""Run the command line with ``python -m llm_tool``."""

from llm_tool.cli.app import main

if __name__ == "__main__":
    main()
