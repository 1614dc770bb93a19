"""What people see in a notebook: progress in one display, results and data as HTML."""
