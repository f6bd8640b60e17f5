"""The whole contact index: the look-up, the keeper that reads the contacts topic, the writer and its scripts.

Takes contacts from their topic and identifiers from events; gives the contact that an identifier finds, or says that
the index is not ready (C4). Holds identifiers only as keyed hashes. Never creates a contact.
"""
