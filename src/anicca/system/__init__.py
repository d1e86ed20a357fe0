"""One host from its spec and lock: generated /etc, seed of the root, initrd, kernel, and the object that ties them.

It knows what a host is made of. It does not know how a host is watched, reached or run in a VM.
"""
