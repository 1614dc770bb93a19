"""Tables: what their columns are, and their cells as numbers."""
