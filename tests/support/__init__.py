"""What tests compare Cotune with."""
