"""The rules of order events (D1 to D24) and contacts (C1 to C3), and the steps built from them: pure functions.

Takes decoded events, known orders and found contacts; gives facts and rejections. `pipeline` does steps 2 and 4 of a
batch; `batch` is what passes between the steps. Nothing here reads a clock, logs, or talks to anything outside.
`processor/domain/README.md` has all rules; a rule's number is beside the line that keeps it.
"""
