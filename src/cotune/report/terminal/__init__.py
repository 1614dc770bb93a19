"""Displays in the terminal: live ones, plain lines, summaries."""
