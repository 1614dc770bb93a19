"""Named datasets: where they come from, and fetching them."""
