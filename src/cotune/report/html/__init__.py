"""Reports as HTML files that need no network."""
