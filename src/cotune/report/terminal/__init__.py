"""What people see in the terminal: live displays, plain lines, summaries."""
