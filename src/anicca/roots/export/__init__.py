"""The guard for hosts whose initrd is not ours: written out with its units. It knows no host and no declaration."""
