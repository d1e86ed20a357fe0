"""The command line: arguments in, results on stdout, everything else on stderr. The only layer that prints and exits."""
