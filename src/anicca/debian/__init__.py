"""Debian in a hash-addressed store: pinned packages, their contents, a tree assembled from exactly them, its image.

It knows packages and trees. It does not know hosts: no declaration, user, service or disk is named here.
"""
