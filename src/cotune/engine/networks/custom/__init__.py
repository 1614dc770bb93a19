"""Users' own networks: their makers, spaces, rows and structure."""
