"""The programs that the stack's Commands run, as `python -m commands.<name>`."""
