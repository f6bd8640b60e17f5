-- How a value that is found compares with one that is given: texts, numbers, booleans, times. Another type never matches.

CREATE OR REPLACE MACRO _compare(found, op, wanted) AS CASE op
    WHEN '=' THEN found = wanted WHEN '!=' THEN found <> wanted WHEN '<' THEN found < wanted
    WHEN '<=' THEN found <= wanted WHEN '>' THEN found > wanted WHEN '>=' THEN found >= wanted END;
-- The same for what is seldom compared: half as much to plan. Rows compare by their fields, also where one is null.
CREATE OR REPLACE MACRO _compare_rows(found, op, wanted) AS CASE
    WHEN found < wanted THEN op IN ('<', '<=', '!=') WHEN found = wanted THEN op IN ('=', '<=', '>=')
    ELSE op IN ('>', '>=', '!=') END;
CREATE OR REPLACE MACRO _is_whole(given) AS regexp_full_match(typeof(given), 'U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?');
CREATE OR REPLACE MACRO _is_number(given) AS
    regexp_full_match(typeof(given), 'U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*');
CREATE OR REPLACE MACRO _is_text_or_time(given) AS typeof(given) <> 'BOOLEAN' AND NOT _is_number(given);

-- A value that is given, in each form that is compared. Each is a column of its own, so that DuckDB plans it once and
-- not with each operator: `near` is the double next to it, `beyond` on which side of that it is; `whole` and `rest` are
-- what is whole of it, and what is behind the point.
CREATE OR REPLACE MACRO _near(given) AS TRY_CAST(CAST(given AS VARCHAR) AS DOUBLE);
CREATE OR REPLACE MACRO _huge(given) AS TRY_CAST(CAST(given AS VARCHAR) AS HUGEINT);
CREATE OR REPLACE MACRO _beyond(given) AS CAST(coalesce(sign(_huge(given) - TRY_CAST(_near(given) AS HUGEINT)), 0) AS INTEGER);
CREATE OR REPLACE MACRO _whole(given) AS CASE WHEN _is_whole(given) THEN _huge(given)
    ELSE CAST(floor(greatest(least(_near(given), 1e37), -1e37)) AS HUGEINT) END;
CREATE OR REPLACE MACRO _rest(given) AS CASE WHEN _is_whole(given) THEN 0 ELSE _near(given) - floor(_near(given)) END;

-- ISO 8601, as far as days; DuckDB takes more, and some of it otherwise than it looks.
CREATE OR REPLACE MACRO _is_time(given) AS TRY_CAST(given AS TIMESTAMPTZ) IS NOT NULL AND regexp_full_match(given,
    '\d{4,6}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?( ?([zZ]|[+-]\d\d(:?\d\d)?))?)?');
-- A time that is given: with an offset, or as the shop's clock shows it.
CREATE OR REPLACE MACRO _instant_of(given) AS CASE
    WHEN regexp_matches(given, ':\d\d(\.\d+)? ?([zZ]|[+-]\d\d(:?\d\d)?)$') THEN CAST(given AS TIMESTAMPTZ)
    ELSE _moment(CAST(given AS TIMESTAMP)) END;

-- Below, `given` is the value itself, whose type decides, and what comes after it are its forms.
CREATE OR REPLACE MACRO _compare_text(found, op, given, text) AS typeof(given) = 'VARCHAR' AND _compare(found, op, text);
CREATE OR REPLACE MACRO _compare_amount(found, op, given, amount) AS
    _is_number(given) AND _compare(CAST(found AS DECIMAL(38, 10)), op, amount);
CREATE OR REPLACE MACRO _compare_time(found, op, given, moment) AS _compare(found, op, moment);
-- Nearly every number that is given is some double exactly, or meant as one; then doubles are compared as they are.
CREATE OR REPLACE MACRO _compare_double(found, op, given, near, beyond) AS _is_number(given) AND CASE
    WHEN NOT _is_whole(given) OR abs(_near(given)) < 9007199254740992 THEN _compare(found, op, near)
    ELSE found IS NOT NULL AND _compare_rows(row(found, 0), op, row(near, beyond)) END;
CREATE OR REPLACE MACRO _compare_long(found, op, given, whole, rest) AS CASE WHEN _is_whole(given)
    THEN _compare(found, op, whole)
    ELSE found IS NOT NULL AND _compare_rows(row(CAST(found AS HUGEINT), CAST(0 AS DOUBLE)), op, row(whole, rest)) END;
-- A custom field's value as the export writes JSON: its letters tell its type, and nothing is parsed twice. A long of 15
-- digits is a double exactly.
CREATE OR REPLACE MACRO _compare_custom(found, op, given, text, near, beyond, whole, rest) AS CASE
    WHEN typeof(given) = 'VARCHAR'
    THEN CASE WHEN starts_with(found, '"') THEN _compare(json_extract_string(found, '$'), op, text) END
    WHEN typeof(given) = 'BOOLEAN'
    THEN found IN ('true', 'false') AND (found = text) = (op = '=')
    WHEN _is_number(given) THEN CASE
        WHEN starts_with(found, '"') THEN false
        WHEN len(found) <= 15 OR regexp_matches(found, '[.eE]')
        THEN _compare_double(TRY_CAST(found AS DOUBLE), op, given, near, beyond)
        ELSE _compare_long(TRY_CAST(found AS BIGINT), op, given, whole, rest) END
    ELSE false END;
CREATE OR REPLACE MACRO _pointer(name) AS '/' || replace(replace(name, '~', '~0'), '/', '~1');

CREATE OR REPLACE MACRO _require_field(name, op, given, not_exported, asked) AS CASE
    WHEN name IS NULL THEN error(asked || ': name a field')
    WHEN list_contains(not_exported, CAST(name AS VARCHAR))
    THEN error(name || ' is a personal column, which this snapshot has not: order-facts facts export DIR --personal')
    WHEN op IS NULL OR op NOT IN ('=', '!=', '<', '<=', '>', '>=')
    THEN error(asked || ': op is ' || coalesce(CAST(op AS VARCHAR), 'null') || '; give one of = != < <= > >=')
    WHEN given IS NULL THEN error(asked || ': value is null, which nothing equals')
    WHEN name = 'date' AND _is_text_or_time(given) AND NOT _is_time(CAST(given AS VARCHAR))
    THEN error(asked || ': ' || CAST(given AS VARCHAR) || ' is no time; give one as 2026-11-30 or 2026-11-30T08:00Z')
    WHEN typeof(given) = 'BOOLEAN' AND op NOT IN ('=', '!=')
    THEN error(asked || ': booleans have no order; give = or !=')
    WHEN _is_text_or_time(given) AND typeof(given) <> 'VARCHAR' AND name <> 'date'
    THEN error(asked || ': value is of type ' || typeof(given) || '; give a text, a number or a boolean')
    ELSE true END;
