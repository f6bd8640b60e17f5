"""`segments publish`: who is in which segment, as a compacted topic that other systems act on.

Takes a snapshot and queries; gives entries and leaves, in one transaction. Writes to no other topic.
"""
