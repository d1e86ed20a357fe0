"""Virtual machines under QEMU: argument lists, a machine that can be asked and cut off, a console, a rescue guest.

It refuses to know what is on the disks that it boots. A machine passes only on a positive word from the guest.
"""
