"""Readers of files and objects: text, Parquet, arrays, images."""
