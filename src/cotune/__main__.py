"""``python -m cotune``."""

from cotune.cli import main

main()
