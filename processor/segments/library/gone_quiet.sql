-- Ordered some time ago, and nothing since: the latest order is from 60 to 90 days ago.
-- quiet (60): for how many calendar days there was no order
-- back (90): how many calendar days back the latest order is at most
FROM lapsed(days := $quiet) INTERSECT FROM ordered(days := $back)
