"""The root that forgets: what the initrd does before there is a host, as files, and what it says it did.

Knows nothing of how an initrd is built, of disks or of the store; nothing here runs on the way from kernel to systemd.
"""
