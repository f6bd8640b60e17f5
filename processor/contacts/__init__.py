"""The contact index, whole: the look-up, the keeper that reads the contacts topic, the writer and its scripts.

Takes contacts from their topic and identifiers from events; gives the contact that an identifier finds, or says that
the index is not ready (C4). Holds identifiers as keyed hashes only. Never creates a contact.
"""
