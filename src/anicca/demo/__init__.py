"""The main job shown from end to end: what a declaration promises, asked of a real machine through five boots.

`promises` turns a spec into questions with known answers; `story` boots, breaks and asks.
"""
