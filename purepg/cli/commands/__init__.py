"""One command a file: its flags, and `run`, which carries it out and prints."""
