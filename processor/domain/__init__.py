"""The rules of order events (D1 to D24) and contacts (C1 to C3), and the steps made of them: pure functions on values.

Takes decoded events, known orders and found contacts; gives facts and rejections. `pipeline` does steps 2 and 4 of a
batch, `batch` is what passes between the steps. Nothing in here reads a clock, logs, or speaks to anything outside.
The rules are told in full in `processor/domain/README.md`; the number of a rule stands beside the line that keeps it.
"""
