-- Of each condition NAME a twin, NAME_check: one row, or the error of a wrong argument, whatever the data is. What adds
-- amounts up also asks whether they are in one currency, and reads nothing for it where a currency is named.

CREATE OR REPLACE MACRO bought_check(item, days := NULL) AS TABLE SELECT _window_start(days);
CREATE OR REPLACE MACRO bought_category_check(category, days := NULL) AS TABLE SELECT _window_start(days);
CREATE OR REPLACE MACRO bought_all_check(items, days := NULL, together := false) AS TABLE
    SELECT _is_list(items), _window_start(days);
CREATE OR REPLACE MACRO ordered_check(min := 1, max := NULL, days := NULL) AS TABLE
    SELECT _number(min), _number(max), _window_start(days);
CREATE OR REPLACE MACRO spent_check(min, days := NULL, currency := NULL) AS TABLE
    SELECT _number(min), _window_start(days), _is_in_one_currency(days, currency);
CREATE OR REPLACE MACRO spent_on_check(min, item := NULL, category := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT _is_item_or_category(item, category), _number(min), _window_start(days),
        _are_in_one_currency(item, category, days, currency);
CREATE OR REPLACE MACRO average_order_check(min := NULL, max := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT _number(min), _number(max), _window_start(days), _is_in_one_currency(days, currency);
CREATE OR REPLACE MACRO single_order_check(min := NULL, max := NULL, days := NULL, currency := NULL) AS TABLE
    SELECT _number(min), _number(max), _window_start(days);
CREATE OR REPLACE MACRO first_ordered_check(days := NULL) AS TABLE SELECT _window_start(days);
CREATE OR REPLACE MACRO lapsed_check(days := NULL) AS TABLE SELECT _window_start(days);
CREATE OR REPLACE MACRO never_ordered_check() AS TABLE SELECT true;
CREATE OR REPLACE MACRO cancelled_check(days := NULL) AS TABLE SELECT _window_start(days);
CREATE OR REPLACE MACRO abandoned_check(days := NULL) AS TABLE SELECT _window_start(days);
CREATE OR REPLACE MACRO order_field_check(name, op, value, days := NULL) AS TABLE
    SELECT _is_order_field(name, op, value), _window_start(days);
CREATE OR REPLACE MACRO item_field_check(name, op, value, days := NULL) AS TABLE
    SELECT _is_item_field(name, op, value), _window_start(days);
CREATE OR REPLACE MACRO rfm_group_check(name, bins := 5, currency := NULL) AS TABLE
    SELECT _is_group(name), _is_number_of_bins(bins), _is_in_one_currency(NULL, currency);
CREATE OR REPLACE MACRO rfm_score_check(r := NULL, f := NULL, m := NULL, bins := 5, currency := NULL) AS TABLE
    SELECT _number(r), _number(f), _number(m), _is_number_of_bins(bins), _is_in_one_currency(NULL, currency);
CREATE OR REPLACE MACRO rfm_cell_check(r := NULL, f := NULL, currency := NULL) AS TABLE
    SELECT _number(r), _number(f), _is_in_one_currency(NULL, currency);
