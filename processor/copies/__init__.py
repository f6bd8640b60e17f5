"""Copies in Redis: which there are, whose, when they were last used, and what they take.

Takes the keys of a Redis; gives each lineage's copy, mirrors and contact indexes, with who uses it. `state prune` lists
them and removes those that nobody uses any more; `check` says what a deployment takes. Whatever is removed wrongly is
rebuilt, so nothing is lost by it but time.
"""
