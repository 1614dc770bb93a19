"""``python -m cotune``."""

from cotune.cli.main import main

main()
