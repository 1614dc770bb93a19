"""Tables: types of their columns, and their cells as numbers."""
