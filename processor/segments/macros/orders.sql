-- Which orders and lines there are for conditions, and when a window begins. Needs what the head defines: the views
-- _orders, _order_lines, _contacts and _strangers, and the macros as_of(), shop_zone(), _changes(), _turns() and _offsets().
-- In a macro an unqualified name is a parameter.

-- What the shop's clock shows at a moment, and the moment at which it shows a time; of a time that never occurs the one as
-- far behind the gap, and of a time that occurs twice the earlier one. The changes of its offset are in the head, since
-- DuckDB's own table of zones differs by version: in UTC, and as the clock shows them. What a macro is given stands in a
-- list, so that it is worked out once and not with each change.
CREATE OR REPLACE MACRO _offset(changes, reading) AS
    to_seconds(_offsets()[1 + len(list_filter(changes, lambda change: change <= reading))]);
CREATE OR REPLACE MACRO _wall(moment) AS
    list_transform([timezone('UTC', moment)], lambda utc: utc + _offset(_changes(), utc))[1];
CREATE OR REPLACE MACRO _moment(wall) AS
    list_transform([wall], lambda shown: timezone('UTC', shown - _offset(_turns(), shown)))[1];

-- As of, minus whole calendar days in the shop's zone.
CREATE OR REPLACE MACRO _days_back(number) AS _moment(_wall(as_of()) - to_days(number));

CREATE OR REPLACE MACRO _window_start(days) AS CASE
    WHEN days IS NULL THEN NULL
    WHEN TRY_CAST(CAST(days AS VARCHAR) AS DOUBLE) = TRY_CAST(days AS INTEGER) AND TRY_CAST(days AS INTEGER) BETWEEN 0 AND 700000
    THEN _days_back(TRY_CAST(days AS INTEGER))
    ELSE error('days is ' || CAST(days AS VARCHAR) || '; give a whole number from 0 to 700000') END;
CREATE OR REPLACE MACRO _in_window(moment, days) AS
    moment < as_of() AND (days IS NULL OR moment >= _window_start(days));

-- An amount or a count that is given, as it compares with amounts, which have four places: what has more is put beside
-- the nearest amount, on its side of it. Beyond 18 digits before the point it has four places, beyond 27 it is as good as
-- its bound.
CREATE OR REPLACE MACRO _fine(given) AS TRY_CAST(CAST(given AS VARCHAR) AS DECIMAL(38, 20));
CREATE OR REPLACE MACRO _nearest(given) AS TRY_CAST(TRY_CAST(_fine(given) AS DECIMAL(38, 4)) AS DECIMAL(38, 20));
CREATE OR REPLACE MACRO _side(given) AS
    CASE WHEN _fine(given) > _nearest(given) THEN 0.00001 WHEN _fine(given) < _nearest(given) THEN -0.00001 ELSE 0 END;
CREATE OR REPLACE MACRO _number(given) AS CASE
    WHEN given IS NOT NULL AND coalesce(isnan(TRY_CAST(CAST(given AS VARCHAR) AS DOUBLE)), true)
    THEN error(CAST(given AS VARCHAR) || ' is no number')
    ELSE coalesce(
        CAST(_nearest(given) AS DECIMAL(38, 10)) + CAST(_side(given) AS DECIMAL(38, 10)),
        TRY_CAST(CAST(given AS VARCHAR) AS DECIMAL(38, 10)),
        CAST(sign(TRY_CAST(CAST(given AS VARCHAR) AS DOUBLE)) AS DECIMAL(38, 10)) * 1000000000000000000000000000) END;
CREATE OR REPLACE MACRO _fine_number(given) AS coalesce(
    _fine(given), CAST(sign(_number(given)) AS DECIMAL(38, 20)) * 999999999999999999);
CREATE OR REPLACE MACRO _at_least(amount, bound) AS bound IS NULL OR amount >= (SELECT _number(bound));
CREATE OR REPLACE MACRO _at_most(amount, bound) AS bound IS NULL OR amount <= (SELECT _number(bound));

-- An order's currency; null is one of its own, which '' asks for.
CREATE OR REPLACE MACRO _code(currency) AS coalesce(currency, '');
CREATE OR REPLACE MACRO _is_asked(code, currency) AS currency IS NULL OR _code(code) = currency;
CREATE OR REPLACE MACRO _one_currency(codes) AS CASE
    WHEN len(codes) > 1
    THEN error('the orders to be added up are in several currencies: '
        || list_aggregate(list_transform(list_sort(codes), lambda code: CASE WHEN code = '' THEN '''''' ELSE code END),
            'string_agg', ', ') || '; name one of them, as in currency := ''' || list_max(codes) || '''')
    ELSE true END;

CREATE OR REPLACE MACRO _is_counted(status) AS status IN ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED');
-- Also of contacts that do not exist: for questions that ask of each contact once, when the rest is done, whether it does.
CREATE OR REPLACE MACRO _anybodys_orders(days) AS TABLE SELECT o.* FROM _orders AS o WHERE _in_window(o.date, days);
CREATE OR REPLACE MACRO _ordered(days) AS TABLE
    SELECT o.* FROM _anybodys_orders(days) AS o ANTI JOIN _strangers AS s ON s.contactId = o.contactId;
CREATE OR REPLACE MACRO _counted(days) AS TABLE
    SELECT o.* FROM _ordered(days) AS o WHERE _is_counted(o.status);
CREATE OR REPLACE MACRO _ever_counted() AS TABLE
    SELECT o.* FROM _orders AS o ANTI JOIN _strangers AS s ON s.contactId = o.contactId
    WHERE o.date < as_of() AND _is_counted(o.status);
CREATE OR REPLACE MACRO _sold(days) AS TABLE
    SELECT o.* FROM _ordered(days) AS o WHERE o.status = 'DELIVERED';

-- Where a snapshot has one currency at most, the head says so instead, and nothing is looked through for it.
CREATE OR REPLACE MACRO _is_in_one_currency(days, currency) AS
    (SELECT _one_currency(list(DISTINCT _code(t.currency))) FROM _sold(days) AS t WHERE currency IS NULL);

-- Sold orders that are added up: of the currency that is named, or of the only one that there is.
CREATE OR REPLACE MACRO _added(days, currency) AS TABLE
    SELECT o.contactId, o.externalOrderId, o.date, o.totalCost FROM _sold(days) AS o WHERE _is_asked(o.currency, currency)
    AND _is_in_one_currency(days, currency);

-- Lines, each with what is asked of its order.
CREATE OR REPLACE MACRO _anybodys_lines(days) AS TABLE
    SELECT i.* FROM _order_lines AS i WHERE i.quantity > 0 AND _in_window(i.date, days);
CREATE OR REPLACE MACRO _lines(days) AS TABLE
    SELECT i.* FROM _anybodys_lines(days) AS i ANTI JOIN _strangers AS s ON s.contactId = i.contactId;
CREATE OR REPLACE MACRO _counted_lines(days) AS TABLE
    SELECT i.* FROM _lines(days) AS i WHERE _is_counted(i.status);
CREATE OR REPLACE MACRO _sold_lines(days) AS TABLE
    SELECT i.* FROM _lines(days) AS i WHERE i.status = 'DELIVERED';

-- Lines that `spent_on` adds up, of the currency that is named, or of any.
CREATE OR REPLACE MACRO _asked_lines(item, category, days, currency) AS TABLE
    SELECT i.contactId, i.externalOrderId, i.currency, i.quantity, i.cost FROM _sold_lines(days) AS i
    WHERE _is_asked(i.currency, currency)
    AND (item IS NULL OR i.externalItemId = CAST(item AS VARCHAR))
    AND (category IS NULL OR i.category = CAST(category AS VARCHAR));
CREATE OR REPLACE MACRO _are_in_one_currency(item, category, days, currency) AS (
    SELECT _one_currency(list(DISTINCT _code(t.currency))) FROM _asked_lines(item, category, days, currency) AS t
    WHERE currency IS NULL);
