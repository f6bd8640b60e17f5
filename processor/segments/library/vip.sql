-- Spent much, in several orders: whom a shop writes to first.
-- min: what the delivered orders cost in all, at least
-- orders (3): how many orders there were, at least
-- days (365): how many calendar days back
-- currency (): of orders in one currency only; needed where there are several
FROM spent($min, days := $days, currency := nullif($currency, ''))
INTERSECT FROM ordered(min := $orders, days := $days)
