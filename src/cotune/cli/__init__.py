"""The command line: ``cotune run`` and its sisters."""
