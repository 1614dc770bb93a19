"""Worker processes for a user's own Optuna objective."""
