"""The verbs of `anicca store`, by what they are about. They know click and the store, nothing else of anicca."""
