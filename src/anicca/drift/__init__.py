"""What a filesystem is, against what it was said to be: every difference by kind, the suspicious first.

It looks and compares; it never changes what it looks at, and it does not know how a system is built. The modules that
`bundle` lists use the standard library alone, because they are sent to hosts that have nothing else.
"""
