"""Runs a search to a tested model: search, finalists, final model, test."""
