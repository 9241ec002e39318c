"""The command line: one file a command, each a list of options and one call of its stage."""
