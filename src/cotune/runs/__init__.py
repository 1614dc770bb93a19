"""Runs on disk: one directory with one writer each."""
