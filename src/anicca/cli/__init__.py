"""The command line: arguments in, results on stdout, all else on stderr. The only layer that prints and exits."""
