-- Ordered once in all, and not in these days: time for a second order.
-- days (30): for how many calendar days there was no order
FROM ordered(min := 1, max := 1) INTERSECT FROM lapsed(days := $days)
