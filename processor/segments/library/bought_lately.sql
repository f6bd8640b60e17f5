-- Bought an item within some days, and cancelled nothing in that time.
-- item: the externalItemId of the item
-- days (7): how many calendar days back
FROM bought($item, days := $days) EXCEPT FROM cancelled(days := $days)
