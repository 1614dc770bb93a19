"""Preprocessing of rows; it is saved with the model."""
