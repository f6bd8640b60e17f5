-- The conditions. Of each there are two: NAME gives contactId, each once; NAME_why gives contactId and externalOrderId, the
-- orders that put a contact there.

CREATE OR REPLACE MACRO bought_why(item, days := NULL) AS TABLE
    SELECT DISTINCT i.contactId, i.externalOrderId FROM _counted_lines(days) AS i
    WHERE i.externalItemId = CAST(item AS VARCHAR);
CREATE OR REPLACE MACRO bought(item, days := NULL) AS TABLE
    SELECT DISTINCT i.contactId FROM _counted_lines(days) AS i WHERE i.externalItemId = CAST(item AS VARCHAR);

CREATE OR REPLACE MACRO bought_category_why(category, days := NULL) AS TABLE
    SELECT DISTINCT i.contactId, i.externalOrderId FROM _counted_lines(days) AS i
    WHERE i.category = CAST(category AS VARCHAR);
CREATE OR REPLACE MACRO bought_category(category, days := NULL) AS TABLE
    SELECT DISTINCT i.contactId FROM _counted_lines(days) AS i WHERE i.category = CAST(category AS VARCHAR);

CREATE OR REPLACE MACRO _is_list(listed) AS CASE WHEN coalesce(len(listed), 0) > 0 THEN true
    ELSE error('bought_all: list one item or more, as in [''22423'']') END;
CREATE OR REPLACE MACRO _of_list(listed, days) AS TABLE
    SELECT i.contactId, i.externalOrderId, i.externalItemId AS item FROM _counted_lines(days) AS i
    WHERE list_contains(CAST(listed AS VARCHAR[]), i.externalItemId) AND (SELECT _is_list(listed));
-- A null in the list matches no line, so that nobody has all of them.
CREATE OR REPLACE MACRO _how_many(listed) AS
    len(list_distinct(listed)) + CASE WHEN len(listed) > list_count(listed) THEN 1 ELSE 0 END;
CREATE OR REPLACE MACRO _complete(listed, days, together) AS TABLE
    SELECT f.contactId, CASE WHEN together THEN f.externalOrderId END AS one FROM _of_list(listed, days) AS f
    GROUP BY ALL HAVING count(DISTINCT f.item) = _how_many(listed);
CREATE OR REPLACE MACRO bought_all_why(items, days := NULL, together := false) AS TABLE
    SELECT DISTINCT f.contactId, f.externalOrderId FROM _of_list(items, days) AS f
    SEMI JOIN _complete(items, days, together) AS c
    ON c.contactId = f.contactId AND (NOT together OR c.one = f.externalOrderId);
CREATE OR REPLACE MACRO bought_all(items, days := NULL, together := false) AS TABLE
    SELECT DISTINCT c.contactId FROM _complete(items, days, together) AS c;

CREATE OR REPLACE MACRO ordered(min := 1, max := NULL, days := NULL) AS TABLE
    WITH _counts AS (SELECT o.contactId, count(*) AS number FROM _counted(days) AS o GROUP BY ALL)
    SELECT n.contactId FROM _counts AS n WHERE _at_least(n.number, min) AND _at_most(n.number, max)
    UNION ALL SELECT c.contactId FROM _contacts AS c ANTI JOIN _counts AS n ON n.contactId = c.contactId
    WHERE _at_least(0, min) AND _at_most(0, max);
CREATE OR REPLACE MACRO ordered_why(min := 1, max := NULL, days := NULL) AS TABLE
    SELECT o.contactId, o.externalOrderId FROM _counted(days) AS o
    SEMI JOIN ordered(min := min, max := max, days := days) AS m ON m.contactId = o.contactId;

CREATE OR REPLACE MACRO spent(min, days := NULL, currency := NULL) AS TABLE
    SELECT a.contactId FROM _added(days, currency) AS a GROUP BY ALL HAVING _at_least(sum(a.totalCost), min);
CREATE OR REPLACE MACRO spent_why(min, days := NULL, currency := NULL) AS TABLE
    SELECT a.contactId, a.externalOrderId FROM _added(days, currency) AS a
    SEMI JOIN spent(min, days := days, currency := currency) AS m ON m.contactId = a.contactId;

-- What no order costs is as good as 10^15, which can be multiplied by their number. What is behind ten places is
-- multiplied apart, and comes to less than 10^15.
CREATE OR REPLACE MACRO _of_an_order(given) AS greatest(least(
    CAST(_fine_number(given) AS DECIMAL(38, 10)), 1000000000000000), -1000000000000000);
CREATE OR REPLACE MACRO _rest_of_an_order(given) AS CAST(coalesce(
    _fine(given) - TRY_CAST(CAST(_fine(given) AS DECIMAL(38, 10)) AS DECIMAL(38, 20)), 0) AS DECIMAL(20, 20));
CREATE OR REPLACE MACRO _above(amount, given, number) AS
    greatest(least(amount - (SELECT _of_an_order(given)) * number, 1000000000000000), -1000000000000000)
    - (SELECT _rest_of_an_order(given)) * number;
CREATE OR REPLACE MACRO average_order(min := NULL, max := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT a.contactId FROM _added(days, currency) AS a GROUP BY ALL
    HAVING (min IS NULL OR _above(sum(a.totalCost), min, count(*)) >= 0)
    AND (max IS NULL OR _above(sum(a.totalCost), max, count(*)) <= 0);
CREATE OR REPLACE MACRO average_order_why(min := NULL, max := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT a.contactId, a.externalOrderId FROM _added(days, currency) AS a
    SEMI JOIN average_order(min := min, max := max, days := days, currency := currency) AS m ON m.contactId = a.contactId;

CREATE OR REPLACE MACRO single_order_why(min := NULL, max := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT o.contactId, o.externalOrderId FROM _sold(days) AS o
    WHERE _is_asked(o.currency, currency) AND _at_least(o.totalCost, min) AND _at_most(o.totalCost, max);
CREATE OR REPLACE MACRO single_order(min := NULL, max := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT DISTINCT w.contactId FROM single_order_why(min := min, max := max, days := days, currency := currency) AS w;

-- A quantity is a double: its shortest decimal text is meant, up to 16 places. Most are small whole numbers. A line of
-- 10^17 or more is none of a shop: it counts as 10^17, so that it stops nobody's question.
CREATE OR REPLACE MACRO _quantity(quantity) AS CASE
    WHEN quantity < 1000000000 AND quantity = floor(quantity) THEN CAST(CAST(quantity AS BIGINT) AS DECIMAL(34, 16))
    ELSE TRY_CAST(CAST(quantity AS VARCHAR) AS DECIMAL(34, 16)) END;
CREATE OR REPLACE MACRO _product(quantity, cost) AS CASE
    WHEN cost IS NULL THEN 0
    WHEN abs(quantity * CAST(cost AS DOUBLE)) < 1e17
    THEN coalesce(_quantity(quantity) * cost, CAST(quantity * CAST(cost AS DOUBLE) AS DECIMAL(38, 20)))
    ELSE CAST(sign(cost) AS DECIMAL(38, 20)) * 100000000000000000 END;
CREATE OR REPLACE MACRO _is_item_or_category(item, category) AS CASE
    WHEN item IS NULL AND category IS NULL
    THEN error('spent_on: name an item, a category or both, as in spent_on(100, item := ''22423'')') ELSE true END;
CREATE OR REPLACE MACRO _spent_lines(item, category, days, currency) AS TABLE
    SELECT f.contactId, f.externalOrderId, _product(f.quantity, f.cost) AS amount
    FROM _asked_lines(item, category, days, currency) AS f
    WHERE (SELECT _is_item_or_category(item, category)) AND _are_in_one_currency(item, category, days, currency);
-- Whole amounts and what is behind the point are added up apart: together they may have more than 38 digits.
CREATE OR REPLACE MACRO _bounded(whole) AS
    CAST(greatest(least(whole, 999999999999999998), -999999999999999998) AS DECIMAL(18, 0));
CREATE OR REPLACE MACRO spent_on(min, item := NULL, category := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT l.contactId FROM _spent_lines(item, category, days, currency) AS l GROUP BY ALL
    HAVING min IS NULL OR _bounded(sum(CAST(trunc(l.amount) AS DECIMAL(38, 0))))
        >= (SELECT _fine_number(min)) - sum(l.amount - CAST(trunc(l.amount) AS DECIMAL(18, 0)));
CREATE OR REPLACE MACRO spent_on_why(min, item := NULL, category := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT DISTINCT l.contactId, l.externalOrderId FROM _spent_lines(item, category, days, currency) AS l
    SEMI JOIN spent_on(min, item := item, category := category, days := days, currency := currency) AS m
    ON m.contactId = l.contactId;

CREATE OR REPLACE MACRO first_ordered_why(days := NULL) AS TABLE
    WITH _first AS (SELECT o.contactId, min(o.date) AS moment FROM _ever_counted() AS o GROUP BY ALL)
    SELECT o.contactId, o.externalOrderId FROM _counted(days) AS o
    SEMI JOIN _first AS f ON f.contactId = o.contactId AND f.moment = o.date;
CREATE OR REPLACE MACRO first_ordered(days := NULL) AS TABLE
    SELECT o.contactId FROM _ever_counted() AS o GROUP BY ALL HAVING _in_window(min(o.date), days);

CREATE OR REPLACE MACRO _lapsed(days) AS TABLE
    SELECT o.contactId, max(o.date) AS moment FROM _ever_counted() AS o
    GROUP BY ALL HAVING NOT _in_window(max(o.date), days);
CREATE OR REPLACE MACRO lapsed_why(days := NULL) AS TABLE
    SELECT o.contactId, o.externalOrderId FROM _ever_counted() AS o
    SEMI JOIN _lapsed(days) AS l ON l.contactId = o.contactId AND l.moment = o.date;
CREATE OR REPLACE MACRO lapsed(days := NULL) AS TABLE SELECT l.contactId FROM _lapsed(days) AS l;

CREATE OR REPLACE MACRO never_ordered() AS TABLE
    SELECT c.contactId FROM _contacts AS c ANTI JOIN _ever_counted() AS o ON o.contactId = c.contactId;
CREATE OR REPLACE MACRO never_ordered_why() AS TABLE SELECT o.contactId, o.externalOrderId FROM _orders AS o WHERE false;

CREATE OR REPLACE MACRO cancelled_why(days := NULL) AS TABLE
    SELECT o.contactId, o.externalOrderId FROM _orders AS o ANTI JOIN _strangers AS s ON s.contactId = o.contactId
    WHERE o.status = 'CANCELLED' AND _in_window(o.statusChangedAt, days);
CREATE OR REPLACE MACRO cancelled(days := NULL) AS TABLE
    SELECT DISTINCT w.contactId FROM cancelled_why(days := days) AS w;

-- Of the orders those are looked up first that can be later than a cart: few, where the window is short.
CREATE OR REPLACE MACRO abandoned_why(days := NULL) AS TABLE
    WITH _carts AS MATERIALIZED (
        SELECT o.contactId, o.externalOrderId, o.date FROM _ordered(days) AS o
        WHERE o.status = 'ABANDONED_SHOPPING_CART'),
    _first AS (SELECT c.contactId, min(c.date) AS moment FROM _carts AS c GROUP BY ALL),
    _last AS (
        SELECT o.contactId, max(o.date) AS moment FROM _orders AS o
        JOIN _first AS f ON f.contactId = o.contactId AND o.date > f.moment
        WHERE o.date < as_of() AND _is_counted(o.status) GROUP BY ALL)
    SELECT c.contactId, c.externalOrderId FROM _carts AS c
    ANTI JOIN _last AS l ON l.contactId = c.contactId AND l.moment > c.date;
CREATE OR REPLACE MACRO abandoned(days := NULL) AS TABLE
    SELECT DISTINCT w.contactId FROM abandoned_why(days := days) AS w;
