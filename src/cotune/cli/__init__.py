"""The command line: ``main`` starts it, and each command has a file."""
