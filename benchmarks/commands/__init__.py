"""The commands of r1-bench, one a file: `add_parser` when the command line is read, `run` when it is carried out."""
