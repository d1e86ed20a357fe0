"""anicca makes a Linux host congruent: its filesystem state follows from a declaration.

This package holds nothing itself; each subpackage is a layer (see docs/internals/architecture.md) and
importing one never drags in another that it does not need.
"""

__version__ = "0.1.0"
