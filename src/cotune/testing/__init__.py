"""What tests compare Cotune with; nothing else of Cotune imports it."""
