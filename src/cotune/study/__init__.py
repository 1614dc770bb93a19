"""Everything of Optuna's: the study, its journal, halving."""
