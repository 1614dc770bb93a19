"""Benchmarks: ratios of wall clock measured in one run on one machine."""
