"""Programs that run inside a build sandbox, on the toolchain's Python; they import nothing of anicca but `lib`.

Each becomes a store object that its derivation names, so changing one rebuilds what it builds and nothing else.
"""
