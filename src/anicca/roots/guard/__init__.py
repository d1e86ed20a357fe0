"""The guard and the layout as files: a dracut module with its units and scripts (docs/internals/boot.md)."""

from pathlib import Path

MODULE = Path(__file__).parent / "90anicca"
"""The folder of the dracut module."""
