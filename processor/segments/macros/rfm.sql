-- Recency, frequency and monetary value of contacts, from their sold orders.

-- Recency are whole calendar days: the greatest n for which the latest order is not after as_of minus n days. The
-- difference of the clocks' times is at most one off where an offset changed between them, or where DuckDB's table of
-- zones has another one: that is near enough here, and quicker. When a day ends is asked once a day, not once a contact,
-- since that takes longer than all the rest.
CREATE OR REPLACE MACRO _difference(moment) AS CAST(
    (epoch_us(_wall(as_of())) - epoch_us(timezone(shop_zone(), moment))) // 86400000000 AS INTEGER);
CREATE OR REPLACE MACRO _measured(currency) AS TABLE
    WITH _sold AS (
        SELECT a.contactId, max(a.date) AS latest, count(*) AS frequency, sum(a.totalCost) AS monetary
        FROM _added(NULL, currency) AS a GROUP BY ALL),
    _about AS MATERIALIZED (SELECT s.*, _difference(s.latest) AS days FROM _sold AS s),
    _ends AS (
        SELECT d.days, _days_back(d.days + 1) AS next, _days_back(d.days) AS this
        FROM (SELECT DISTINCT a.days FROM _about AS a) AS d)
    SELECT a.contactId, greatest(0, CASE WHEN a.latest <= e.next THEN a.days + 1
        WHEN a.latest <= e.this THEN a.days ELSE a.days - 1 END) AS recency, a.frequency, a.monetary
    FROM _about AS a JOIN _ends AS e ON e.days = a.days;

-- The values at k/bins for k from 1 to bins - 1, each the least one that k/bins of all values do not exceed.
CREATE OR REPLACE MACRO _cut(sorted, bins) AS list_transform(
    range(1, CAST(bins AS BIGINT)),
    lambda k: sorted[(k * len(sorted) + CAST(bins AS BIGINT) - 1) // CAST(bins AS BIGINT)]);
CREATE OR REPLACE MACRO _is_number_of_bins(bins) AS CASE WHEN TRY_CAST(bins AS INTEGER) BETWEEN 1 AND 1000
    AND TRY_CAST(CAST(bins AS VARCHAR) AS DOUBLE) = TRY_CAST(bins AS INTEGER) THEN true
    ELSE error('bins is ' || coalesce(CAST(bins AS VARCHAR), 'null') || '; give a whole number from 1 to 1000') END;
CREATE OR REPLACE MACRO _below(cuts, amount) AS len(list_filter(cuts, lambda cut: cut < amount));

CREATE OR REPLACE MACRO rfm_cuts(bins := 5, currency := NULL) AS TABLE
    SELECT _cut(list(m.recency ORDER BY m.recency ASC), bins) AS recency,
        _cut(list(m.frequency ORDER BY m.frequency ASC), bins) AS frequency,
        _cut(list(m.monetary ORDER BY m.monetary ASC), bins) AS monetary
    FROM _measured(currency) AS m WHERE (SELECT _is_number_of_bins(bins));
CREATE OR REPLACE MACRO _scored(bins, currency) AS TABLE
    WITH _values AS MATERIALIZED (SELECT m.* FROM _measured(currency) AS m WHERE (SELECT _is_number_of_bins(bins))),
    _cuts AS (
        SELECT _cut(list(m.recency ORDER BY m.recency ASC), bins) AS recency,
            _cut(list(m.frequency ORDER BY m.frequency ASC), bins) AS frequency,
            _cut(list(m.monetary ORDER BY m.monetary ASC), bins) AS monetary
        FROM _values AS m)
    SELECT m.contactId, m.recency, m.frequency, m.monetary,
        CAST(CAST(bins AS BIGINT) - _below(c.recency, m.recency) AS INTEGER) AS r,
        CAST(1 + _below(c.frequency, m.frequency) AS INTEGER) AS f,
        CAST(1 + _below(c.monetary, m.monetary) AS INTEGER) AS m
    FROM _values AS m CROSS JOIN _cuts AS c;

-- Scores of another number of bins are brought to fifths first.
CREATE OR REPLACE MACRO _fifth(score, bins) AS (5 * score + CAST(bins AS BIGINT) - 1) // CAST(bins AS BIGINT);
CREATE OR REPLACE MACRO _group(r, value) AS CASE
    WHEN r <= 2 THEN CASE WHEN value <= 2 THEN 'Hibernating' WHEN value <= 4 THEN 'At risk' ELSE 'Can''t lose them' END
    WHEN value >= 4 THEN CASE WHEN r = 5 THEN 'Champions' ELSE 'Loyal customers' END
    WHEN r = 3 THEN CASE WHEN value = 3 THEN 'Need attention' ELSE 'About to sleep' END
    WHEN value >= 2 THEN 'Potential loyalists'
    WHEN r = 4 THEN 'Promising'
    ELSE 'New customers' END;

-- All contacts that exist; those without a sold order have a recency of null, zeros, and no group.
CREATE OR REPLACE MACRO rfm(bins := 5, currency := NULL) AS TABLE
    WITH _scores AS (SELECT s.* FROM _scored(bins, currency) AS s)
    SELECT s.contactId, s.recency, s.frequency, s.monetary, s.r, s.f, s.m,
        _group(_fifth(s.r, bins), (_fifth(s.f, bins) + _fifth(s.m, bins) + 1) // 2) AS "group" FROM _scores AS s
    UNION ALL SELECT c.contactId, NULL, 0, 0, 0, 0, 0, NULL
    FROM _contacts AS c ANTI JOIN _scores AS s ON s.contactId = c.contactId;

CREATE OR REPLACE MACRO _group_names() AS ['Champions', 'Loyal customers', 'Potential loyalists', 'New customers',
    'Promising', 'Need attention', 'About to sleep', 'At risk', 'Can''t lose them', 'Hibernating'];
CREATE OR REPLACE MACRO _is_group(name) AS CASE
    WHEN name IS NULL OR list_contains(_group_names(), CAST(name AS VARCHAR)) THEN true
    ELSE error('no group is called ' || name || '; there are: ' || array_to_string(_group_names(), ', ')) END;
CREATE OR REPLACE MACRO rfm_group(name, bins := 5, currency := NULL) AS TABLE
    SELECT s.contactId FROM rfm(bins := bins, currency := currency) AS s
    WHERE s."group" IS NOT NULL AND (name IS NULL OR s."group" = name)
    AND (SELECT _is_group(name));
CREATE OR REPLACE MACRO rfm_group_why(name, bins := 5, currency := NULL) AS TABLE
    SELECT a.contactId, a.externalOrderId FROM _added(NULL, currency) AS a
    SEMI JOIN rfm_group(name, bins := bins, currency := currency) AS s ON s.contactId = a.contactId;

CREATE OR REPLACE MACRO rfm_score(r := NULL, f := NULL, m := NULL, bins := 5, currency := NULL) AS TABLE
    SELECT s.contactId FROM _scored(bins, currency) AS s
    WHERE (r IS NULL OR s.r = r) AND (f IS NULL OR s.f = f) AND (m IS NULL OR s.m = m);
CREATE OR REPLACE MACRO rfm_score_why(r := NULL, f := NULL, m := NULL, bins := 5, currency := NULL) AS TABLE
    SELECT a.contactId, a.externalOrderId FROM _added(NULL, currency) AS a
    SEMI JOIN rfm_score(r := r, f := f, m := m, bins := bins, currency := currency) AS s ON s.contactId = a.contactId;

-- The fixed grid: r from 1 (15 days at most) to 7 (more than 365), f from 0 (the rest: no sold order) to 11 (or more).
CREATE OR REPLACE MACRO rfm_cells(currency := NULL) AS TABLE
    WITH _values AS (SELECT m.* FROM _measured(currency) AS m)
    SELECT m.contactId, m.recency, m.frequency, m.monetary,
        CAST(1 + _below([15, 30, 60, 90, 180, 365], m.recency) AS INTEGER) AS r,
        CAST(least(m.frequency, 11) AS INTEGER) AS f FROM _values AS m
    UNION ALL SELECT c.contactId, NULL, 0, 0, NULL, 0
    FROM _contacts AS c ANTI JOIN _values AS m ON m.contactId = c.contactId;
CREATE OR REPLACE MACRO rfm_cell(r := NULL, f := NULL, currency := NULL) AS TABLE
    SELECT c.contactId FROM rfm_cells(currency := currency) AS c
    WHERE (r IS NULL OR c.r = r) AND (f IS NULL OR c.f = f);
CREATE OR REPLACE MACRO rfm_cell_why(r := NULL, f := NULL, currency := NULL) AS TABLE
    SELECT a.contactId, a.externalOrderId FROM _added(NULL, currency) AS a
    SEMI JOIN rfm_cell(r := r, f := f, currency := currency) AS c ON c.contactId = a.contactId;
