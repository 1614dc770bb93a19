"""What a run leaves on disk: one directory with one writer."""
