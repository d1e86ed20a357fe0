"""Programs that run inside a build sandbox on the toolchain's Python.

They import nothing of anicca but `anicca.debian.builders.lib`, whose modules lie on their path.
"""
