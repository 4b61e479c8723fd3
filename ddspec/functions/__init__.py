"""What the public functions share, and those beside load, compile and run."""
