"""`segments`: asks a snapshot who is in a segment, and why.

Takes a snapshot, a query, a moment; gives contacts, the orders that put them there, RFM tables. Writes nothing.
"""
