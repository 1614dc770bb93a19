"""Cohorts: lanes that are trained together, a module for each way to compute them."""
