"""Carrying out what `system.generations`, `boot` and `units` plan: the ESP, the profile, mounts, units.

It refuses to decide anything: whatever it does was a plan before, and could be printed.
"""
