"""The commands of r1-bench: `add_parser` of each says what it takes; what it does is imported when it is run."""
