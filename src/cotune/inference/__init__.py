"""Uses a finished model: predictions, evaluations, exports."""
