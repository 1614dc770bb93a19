"""Trains many networks at once, epoch by epoch. It never sees Optuna."""
