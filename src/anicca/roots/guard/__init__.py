"""The initrd's scripts and units, shipped as one dracut module (`90anicca/`), and how dracut is to be called.

The scripts are POSIX sh and run with what `90anicca/module-setup.sh` puts beside them. docs/internals/boot.md and
guard.md tell what they do; `files` where they are.
"""
