"""Networks that are trained together, a module for each model family."""
