"""Disks: how a host's disk is laid out, and disk images written without mounting anything.

`plan` and `esp` think, `image` acts. It refuses to know what a system is, where its objects come from, or what
the root filesystem is for: it is given a directory, some files and sizes.
"""
