"""The rules of order events (D1 to D24) and contacts (C1 to C3), as pure functions on typed values.

Nothing in here reads a clock, logs, or speaks to anything outside. The rules are told in full in
`processor/domain/README.md`; the number of a rule stands beside the line that keeps it.
"""
