"""The search space: hyperparameters, their distributions, presets."""
