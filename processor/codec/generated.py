"""Generated from the schemas by deploy/build/codegen.py: change that and run `make codec`.

Long on purpose: a call for each value would cost more than reading it.
"""

import struct
from typing import Any, Final

from msgspec.structs import astuple

from processor.codec.varints import (
    LENGTHS,
    SOME_LENGTHS,
    amount_bytes,
    block_at,
    decimal_of,
    double_at,
    double_bytes,
    index_at,
    int_at,
    length_at,
    long_at,
    long_bytes,
    malformed,
    require_end,
    too_many_elements,
)
from processor.domain.records import MAX_ELEMENTS, Event, Item, Order, PlainItems, UndecodableError

EVENT_HEADERS: Final = {1: b"\xc3\x01\xb4\xa6vP\xbdA\x90,", 2: b"\xc3\x01r\x7f\xfdQ\x96\t\xb3|"}
FACT_HEADERS: Final = {1: b"\xc3\x01GE\xbd\x1b\xab\xb2\x0e\xc1", 2: b"\xc3\x01\xa0{\xbe\xed\x9a)q\x84"}
_FACT_1: Final = b"\xc3\x01GE\xbd\x1b\xab\xb2\x0e\xc1"
_FACT_2: Final = b"\xc3\x01\xa0{\xbe\xed\x9a)q\x84"
STATUSES: Final = {
    "INITIALIZED": b"\x00",
    "IN_PROGRESS": b"\x02",
    "DELIVERED": b"\x04",
    "CANCELLED": b"\x06",
    "ABANDONED_SHOPPING_CART": b"\x08",
}
_ONE: Final = SOME_LENGTHS[1]
_FOUR: Final = SOME_LENGTHS[4]


def event_1_at(b: bytes, p: int) -> Event | None:
    """Read the value from a position to the end. Raises UndecodableError."""
    q = 0
    left = MAX_ELEMENTS
    try:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field1 = b[p:q].decode()
        p = q
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field2 = b[p:q].decode()
        p = q
        field3: dict[str, Any] = {}
        total = 0
        end5: int | None = None
        count4 = b[p]
        if count4 & 129:
            count4, p, end5 = block_at(b, p)
        else:
            count4 >>= 1
            p += 1
        while count4:
            total += count4
            left -= count4
            if left < 0:
                raise too_many_elements()
            for _ in range(count4):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field6 = b[p:q].decode()
                p = q
                field7: Any
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field7 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field7 = None
                    elif k == 4:
                        if b[p] > 1:
                            raise UndecodableError("a boolean is neither 0 nor 1")
                        field7 = b[p] == 1
                        p += 1
                    elif k == 6:
                        field7, p = long_at(b, p)
                    elif k == 8:
                        field7 = double_at(b, p)[0]
                        p += 8
                    elif k == 10:
                        array8: list[Any] = []
                        end11: int | None = None
                        count10 = b[p]
                        if count10 & 129:
                            count10, p, end11 = block_at(b, p)
                        else:
                            count10 >>= 1
                            p += 1
                        while count10:
                            left -= count10
                            if left < 0:
                                raise too_many_elements()
                            for _ in range(count10):
                                map12: dict[str, Any] = {}
                                end16: int | None = None
                                count15 = b[p]
                                if count15 & 129:
                                    count15, p, end16 = block_at(b, p)
                                else:
                                    count15 >>= 1
                                    p += 1
                                while count15:
                                    left -= count15
                                    if left < 0:
                                        raise too_many_elements()
                                    for _ in range(count15):
                                        n = b[p]
                                        if n & 129:
                                            n, p = length_at(b, p)
                                            q = p + n
                                        else:
                                            p += 1
                                            q = p + (n >> 1)
                                        name13 = b[p:q].decode()
                                        p = q
                                        value14: Any
                                        k = b[p]
                                        p += 1
                                        while True:
                                            if k == 2:
                                                n = b[p]
                                                if n & 129:
                                                    n, p = length_at(b, p)
                                                    q = p + n
                                                else:
                                                    p += 1
                                                    q = p + (n >> 1)
                                                value14 = b[p:q].decode()
                                                p = q
                                            elif k == 0:
                                                value14 = None
                                            elif k == 4:
                                                if b[p] > 1:
                                                    raise UndecodableError("a boolean is neither 0 nor 1")
                                                value14 = b[p] == 1
                                                p += 1
                                            elif k == 6:
                                                value14, p = long_at(b, p)
                                            elif k == 8:
                                                value14 = double_at(b, p)[0]
                                                p += 8
                                            else:
                                                k, p = index_at(b, p - 1, 5, "a union's")
                                                continue
                                            break
                                        map12[name13] = value14
                                    if end16 is not None:
                                        require_end(end16, p)
                                        end16 = None
                                    count15 = b[p]
                                    if count15 & 129:
                                        count15, p, end16 = block_at(b, p)
                                    else:
                                        count15 >>= 1
                                        p += 1
                                element9 = map12
                                array8.append(element9)
                            if end11 is not None:
                                require_end(end11, p)
                                end11 = None
                            count10 = b[p]
                            if count10 & 129:
                                count10, p, end11 = block_at(b, p)
                            else:
                                count10 >>= 1
                                p += 1
                        field7 = array8
                    else:
                        k, p = index_at(b, p - 1, 6, "a union's")
                        continue
                    break
                field3[field6] = field7
            if end5 is not None:
                require_end(end5, p)
                end5 = None
            count4 = b[p]
            if count4 & 129:
                count4, p, end5 = block_at(b, p)
            else:
                count4 >>= 1
                p += 1
        value = Event(field1, field2, field3) if len(field3) == total else None
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise malformed(b, max(p, q), error) from error
    if p != len(b):
        raise malformed(b, p)
    return value


def event_2_at(b: bytes, p: int) -> Event | None:
    """Read the value from a position to the end. Raises UndecodableError."""
    q = 0
    left = MAX_ELEMENTS
    try:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field1 = b[p:q].decode()
        p = q
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field2 = b[p:q].decode()
        p = q
        field3: dict[str, Any] = {}
        total = 0
        end5: int | None = None
        count4 = b[p]
        if count4 & 129:
            count4, p, end5 = block_at(b, p)
        else:
            count4 >>= 1
            p += 1
        while count4:
            total += count4
            left -= count4
            if left < 0:
                raise too_many_elements()
            for _ in range(count4):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field6 = b[p:q].decode()
                p = q
                field7: Any
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field7 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field7 = None
                    elif k == 4:
                        if b[p] > 1:
                            raise UndecodableError("a boolean is neither 0 nor 1")
                        field7 = b[p] == 1
                        p += 1
                    elif k == 6:
                        field7, p = long_at(b, p)
                    elif k == 8:
                        field7 = double_at(b, p)[0]
                        p += 8
                    elif k == 10:
                        array8: list[Any] = []
                        end11: int | None = None
                        count10 = b[p]
                        if count10 & 129:
                            count10, p, end11 = block_at(b, p)
                        else:
                            count10 >>= 1
                            p += 1
                        while count10:
                            left -= count10
                            if left < 0:
                                raise too_many_elements()
                            for _ in range(count10):
                                element9: Any
                                k = b[p]
                                p += 1
                                while True:
                                    if k == 2:
                                        n = b[p]
                                        if n & 129:
                                            n, p = length_at(b, p)
                                            q = p + n
                                        else:
                                            p += 1
                                            q = p + (n >> 1)
                                        element9 = b[p:q].decode()
                                        p = q
                                    elif k == 0:
                                        element9 = None
                                    elif k == 4:
                                        if b[p] > 1:
                                            raise UndecodableError("a boolean is neither 0 nor 1")
                                        element9 = b[p] == 1
                                        p += 1
                                    elif k == 6:
                                        element9, p = long_at(b, p)
                                    elif k == 8:
                                        element9 = double_at(b, p)[0]
                                        p += 8
                                    elif k == 10:
                                        map12: dict[str, Any] = {}
                                        end16: int | None = None
                                        count15 = b[p]
                                        if count15 & 129:
                                            count15, p, end16 = block_at(b, p)
                                        else:
                                            count15 >>= 1
                                            p += 1
                                        while count15:
                                            left -= count15
                                            if left < 0:
                                                raise too_many_elements()
                                            for _ in range(count15):
                                                n = b[p]
                                                if n & 129:
                                                    n, p = length_at(b, p)
                                                    q = p + n
                                                else:
                                                    p += 1
                                                    q = p + (n >> 1)
                                                name13 = b[p:q].decode()
                                                p = q
                                                value14: Any
                                                k = b[p]
                                                p += 1
                                                while True:
                                                    if k == 2:
                                                        n = b[p]
                                                        if n & 129:
                                                            n, p = length_at(b, p)
                                                            q = p + n
                                                        else:
                                                            p += 1
                                                            q = p + (n >> 1)
                                                        value14 = b[p:q].decode()
                                                        p = q
                                                    elif k == 0:
                                                        value14 = None
                                                    elif k == 4:
                                                        if b[p] > 1:
                                                            raise UndecodableError("a boolean is neither 0 nor 1")
                                                        value14 = b[p] == 1
                                                        p += 1
                                                    elif k == 6:
                                                        value14, p = long_at(b, p)
                                                    elif k == 8:
                                                        value14 = double_at(b, p)[0]
                                                        p += 8
                                                    else:
                                                        k, p = index_at(b, p - 1, 5, "a union's")
                                                        continue
                                                    break
                                                map12[name13] = value14
                                            if end16 is not None:
                                                require_end(end16, p)
                                                end16 = None
                                            count15 = b[p]
                                            if count15 & 129:
                                                count15, p, end16 = block_at(b, p)
                                            else:
                                                count15 >>= 1
                                                p += 1
                                        element9 = map12
                                    else:
                                        k, p = index_at(b, p - 1, 6, "a union's")
                                        continue
                                    break
                                array8.append(element9)
                            if end11 is not None:
                                require_end(end11, p)
                                end11 = None
                            count10 = b[p]
                            if count10 & 129:
                                count10, p, end11 = block_at(b, p)
                            else:
                                count10 >>= 1
                                p += 1
                        field7 = array8
                    elif k == 12:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                        else:
                            n >>= 1
                            p += 1
                        field7 = decimal_of(b[p : p + n], 4)
                        p += n
                    elif k == 14:
                        map17: dict[str, Any] = {}
                        end21: int | None = None
                        count20 = b[p]
                        if count20 & 129:
                            count20, p, end21 = block_at(b, p)
                        else:
                            count20 >>= 1
                            p += 1
                        while count20:
                            left -= count20
                            if left < 0:
                                raise too_many_elements()
                            for _ in range(count20):
                                n = b[p]
                                if n & 129:
                                    n, p = length_at(b, p)
                                    q = p + n
                                else:
                                    p += 1
                                    q = p + (n >> 1)
                                name18 = b[p:q].decode()
                                p = q
                                value19: Any
                                k = b[p]
                                p += 1
                                while True:
                                    if k == 2:
                                        n = b[p]
                                        if n & 129:
                                            n, p = length_at(b, p)
                                            q = p + n
                                        else:
                                            p += 1
                                            q = p + (n >> 1)
                                        value19 = b[p:q].decode()
                                        p = q
                                    elif k == 0:
                                        value19 = None
                                    elif k == 4:
                                        if b[p] > 1:
                                            raise UndecodableError("a boolean is neither 0 nor 1")
                                        value19 = b[p] == 1
                                        p += 1
                                    elif k == 6:
                                        value19, p = long_at(b, p)
                                    elif k == 8:
                                        value19 = double_at(b, p)[0]
                                        p += 8
                                    else:
                                        k, p = index_at(b, p - 1, 5, "a union's")
                                        continue
                                    break
                                map17[name18] = value19
                            if end21 is not None:
                                require_end(end21, p)
                                end21 = None
                            count20 = b[p]
                            if count20 & 129:
                                count20, p, end21 = block_at(b, p)
                            else:
                                count20 >>= 1
                                p += 1
                        field7 = map17
                    else:
                        k, p = index_at(b, p - 1, 8, "a union's")
                        continue
                    break
                field3[field6] = field7
            if end5 is not None:
                require_end(end5, p)
                end5 = None
            count4 = b[p]
            if count4 & 129:
                count4, p, end5 = block_at(b, p)
            else:
                count4 >>= 1
                p += 1
        value = Event(field1, field2, field3) if len(field3) == total else None
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise malformed(b, max(p, q), error) from error
    if p != len(b):
        raise malformed(b, p)
    return value


def items_at(b: bytes, p: int) -> tuple[Item, ...]:
    """Read the value from a position to the end. Raises UndecodableError."""
    q = 0
    try:
        array1: list[Any] = []
        end4: int | None = None
        count3 = b[p]
        if count3 & 129:
            count3, p, end4 = block_at(b, p)
        else:
            count3 >>= 1
            p += 1
        while count3:
            for _ in range(count3):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field5 = b[p:q].decode()
                p = q
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field6 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field6 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field7 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field7 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field8 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field8 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field9 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field9 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field10 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field10 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                field11 = double_at(b, p)[0]
                p += 8
                k = b[p]
                p += 1
                while True:
                    if k == 0:
                        field12 = None
                    elif k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                        else:
                            n >>= 1
                            p += 1
                        field12 = int.from_bytes(b[p : p + n], "big", signed=True)
                        p += n
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                map14: dict[str, Any] = {}
                end18: int | None = None
                count17 = b[p]
                if count17 & 129:
                    count17, p, end18 = block_at(b, p)
                else:
                    count17 >>= 1
                    p += 1
                while count17:
                    for _ in range(count17):
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        name15 = b[p:q].decode()
                        p = q
                        value16: Any
                        k = b[p]
                        p += 1
                        while True:
                            if k == 8:
                                n = b[p]
                                if n & 129:
                                    n, p = length_at(b, p)
                                    q = p + n
                                else:
                                    p += 1
                                    q = p + (n >> 1)
                                value16 = b[p:q].decode()
                                p = q
                            elif k == 0:
                                value16 = None
                            elif k == 2:
                                if b[p] > 1:
                                    raise UndecodableError("a boolean is neither 0 nor 1")
                                value16 = b[p] == 1
                                p += 1
                            elif k == 4:
                                value16, p = long_at(b, p)
                            elif k == 6:
                                value16 = double_at(b, p)[0]
                                p += 8
                            else:
                                k, p = index_at(b, p - 1, 5, "a union's")
                                continue
                            break
                        map14[name15] = value16
                    if end18 is not None:
                        require_end(end18, p)
                        end18 = None
                    count17 = b[p]
                    if count17 & 129:
                        count17, p, end18 = block_at(b, p)
                    else:
                        count17 >>= 1
                        p += 1
                field13 = map14
                element2 = Item(field5, field11, field6, field7, field8, field9, field10, field12, field13)
                array1.append(element2)
            if end4 is not None:
                require_end(end4, p)
                end4 = None
            count3 = b[p]
            if count3 & 129:
                count3, p, end4 = block_at(b, p)
            else:
                count3 >>= 1
                p += 1
        value = array1
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise malformed(b, max(p, q), error) from error
    if p != len(b):
        raise malformed(b, p)
    return tuple(value)


def fact_1_at(b: bytes, p: int) -> Order:
    """Read the value from a position to the end. Raises UndecodableError."""
    q = 0
    try:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field1 = b[p:q].decode()
        p = q
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field2 = b[p:q].decode()
        p = q
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field3 = b[p:q].decode()
        p = q
        k = b[p]
        p += 1
        if k & 1 or k > 8:
            k, p = index_at(b, p - 1, 5, "an enum's")
        field4 = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")[k >> 1]
        field5, p = long_at(b, p)
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
        else:
            n >>= 1
            p += 1
        field6 = int.from_bytes(b[p : p + n], "big", signed=True)
        p += n
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field7 = b[p:q].decode()
                p = q
            elif k == 0:
                field7 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        array9: list[Any] = []
        end12: int | None = None
        count11 = b[p]
        if count11 & 129:
            count11, p, end12 = block_at(b, p)
        else:
            count11 >>= 1
            p += 1
        while count11:
            for _ in range(count11):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field13 = b[p:q].decode()
                p = q
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field14 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field14 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field15 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field15 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field16 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field16 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field17 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field17 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field18 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field18 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                field19 = double_at(b, p)[0]
                p += 8
                k = b[p]
                p += 1
                while True:
                    if k == 0:
                        field20 = None
                    elif k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                        else:
                            n >>= 1
                            p += 1
                        field20 = int.from_bytes(b[p : p + n], "big", signed=True)
                        p += n
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                map22: dict[str, Any] = {}
                end26: int | None = None
                count25 = b[p]
                if count25 & 129:
                    count25, p, end26 = block_at(b, p)
                else:
                    count25 >>= 1
                    p += 1
                while count25:
                    for _ in range(count25):
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        name23 = b[p:q].decode()
                        p = q
                        value24: Any
                        k = b[p]
                        p += 1
                        while True:
                            if k == 8:
                                n = b[p]
                                if n & 129:
                                    n, p = length_at(b, p)
                                    q = p + n
                                else:
                                    p += 1
                                    q = p + (n >> 1)
                                value24 = b[p:q].decode()
                                p = q
                            elif k == 0:
                                value24 = None
                            elif k == 2:
                                if b[p] > 1:
                                    raise UndecodableError("a boolean is neither 0 nor 1")
                                value24 = b[p] == 1
                                p += 1
                            elif k == 4:
                                value24, p = long_at(b, p)
                            elif k == 6:
                                value24 = double_at(b, p)[0]
                                p += 8
                            else:
                                k, p = index_at(b, p - 1, 5, "a union's")
                                continue
                            break
                        map22[name23] = value24
                    if end26 is not None:
                        require_end(end26, p)
                        end26 = None
                    count25 = b[p]
                    if count25 & 129:
                        count25, p, end26 = block_at(b, p)
                    else:
                        count25 >>= 1
                        p += 1
                field21 = map22
                element10 = Item(field13, field19, field14, field15, field16, field17, field18, field20, field21)
                array9.append(element10)
            if end12 is not None:
                require_end(end12, p)
                end12 = None
            count11 = b[p]
            if count11 & 129:
                count11, p, end12 = block_at(b, p)
            else:
                count11 >>= 1
                p += 1
        field8 = array9
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field27 = b[p:q].decode()
                p = q
            elif k == 0:
                field27 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field28 = b[p:q].decode()
                p = q
            elif k == 0:
                field28 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field29 = b[p:q].decode()
                p = q
            elif k == 0:
                field29 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field30 = b[p:q].decode()
                p = q
            elif k == 0:
                field30 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field31 = b[p:q].decode()
                p = q
            elif k == 0:
                field31 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field32 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field32 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field33 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field33 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field34 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field34 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field35 = b[p:q].decode()
                p = q
            elif k == 0:
                field35 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field36 = b[p:q].decode()
                p = q
            elif k == 0:
                field36 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field37 = b[p:q].decode()
                p = q
            elif k == 0:
                field37 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field38 = b[p:q].decode()
                p = q
            elif k == 0:
                field38 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field39 = b[p:q].decode()
                p = q
            elif k == 0:
                field39 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field40 = b[p:q].decode()
                p = q
            elif k == 0:
                field40 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field41 = b[p:q].decode()
                p = q
            elif k == 0:
                field41 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field42 = b[p:q].decode()
                p = q
            elif k == 0:
                field42 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field43 = b[p:q].decode()
                p = q
            elif k == 0:
                field43 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        map45: dict[str, Any] = {}
        end49: int | None = None
        count48 = b[p]
        if count48 & 129:
            count48, p, end49 = block_at(b, p)
        else:
            count48 >>= 1
            p += 1
        while count48:
            for _ in range(count48):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                name46 = b[p:q].decode()
                p = q
                value47: Any
                k = b[p]
                p += 1
                while True:
                    if k == 8:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        value47 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        value47 = None
                    elif k == 2:
                        if b[p] > 1:
                            raise UndecodableError("a boolean is neither 0 nor 1")
                        value47 = b[p] == 1
                        p += 1
                    elif k == 4:
                        value47, p = long_at(b, p)
                    elif k == 6:
                        value47 = double_at(b, p)[0]
                        p += 8
                    else:
                        k, p = index_at(b, p - 1, 5, "a union's")
                        continue
                    break
                map45[name46] = value47
            if end49 is not None:
                require_end(end49, p)
                end49 = None
            count48 = b[p]
            if count48 & 129:
                count48, p, end49 = block_at(b, p)
            else:
                count48 >>= 1
                p += 1
        field44 = map45
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field50 = b[p:q].decode()
        p = q
        field51, p = long_at(b, p)
        field52, p = long_at(b, p)
        field53, p = long_at(b, p)
        field54 = b[p]
        if field54 & 129:
            field54, p = int_at(b, p)
        else:
            field54 >>= 1
            p += 1
        field55 = b[p]
        if field55 & 129:
            field55, p = int_at(b, p)
        else:
            field55 >>= 1
            p += 1
        field56, p = long_at(b, p)
        value = Order(
            field1,
            field2,
            field3,
            field4,
            field5,
            field6,
            field50,
            field51,
            field52,
            field53,
            field54,
            field55,
            field56,
            PlainItems(tuple(field8)),
            field44,
            field7,
            field27,
            field28,
            field29,
            field30,
            field31,
            field32,
            field33,
            field34,
            field35,
            field36,
            field37,
            field38,
            field39,
            field40,
            field41,
            field42,
            field43,
            None,
        )
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise malformed(b, max(p, q), error) from error
    if p != len(b):
        raise malformed(b, p)
    return value


def fact_2_at(b: bytes, p: int) -> Order:
    """Read the value from a position to the end. Raises UndecodableError."""
    q = 0
    try:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field1 = b[p:q].decode()
        p = q
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field2 = b[p:q].decode()
        p = q
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field3 = b[p:q].decode()
        p = q
        k = b[p]
        p += 1
        if k & 1 or k > 8:
            k, p = index_at(b, p - 1, 5, "an enum's")
        field4 = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")[k >> 1]
        field5, p = long_at(b, p)
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
        else:
            n >>= 1
            p += 1
        field6 = int.from_bytes(b[p : p + n], "big", signed=True)
        p += n
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field7 = b[p:q].decode()
                p = q
            elif k == 0:
                field7 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        array9: list[Any] = []
        end12: int | None = None
        count11 = b[p]
        if count11 & 129:
            count11, p, end12 = block_at(b, p)
        else:
            count11 >>= 1
            p += 1
        while count11:
            for _ in range(count11):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field13 = b[p:q].decode()
                p = q
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field14 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field14 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field15 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field15 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field16 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field16 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field17 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field17 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                k = b[p]
                p += 1
                while True:
                    if k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        field18 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        field18 = None
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                field19 = double_at(b, p)[0]
                p += 8
                k = b[p]
                p += 1
                while True:
                    if k == 0:
                        field20 = None
                    elif k == 2:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                        else:
                            n >>= 1
                            p += 1
                        field20 = int.from_bytes(b[p : p + n], "big", signed=True)
                        p += n
                    else:
                        k, p = index_at(b, p - 1, 2, "a union's")
                        continue
                    break
                map22: dict[str, Any] = {}
                end26: int | None = None
                count25 = b[p]
                if count25 & 129:
                    count25, p, end26 = block_at(b, p)
                else:
                    count25 >>= 1
                    p += 1
                while count25:
                    for _ in range(count25):
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        name23 = b[p:q].decode()
                        p = q
                        value24: Any
                        k = b[p]
                        p += 1
                        while True:
                            if k == 8:
                                n = b[p]
                                if n & 129:
                                    n, p = length_at(b, p)
                                    q = p + n
                                else:
                                    p += 1
                                    q = p + (n >> 1)
                                value24 = b[p:q].decode()
                                p = q
                            elif k == 0:
                                value24 = None
                            elif k == 2:
                                if b[p] > 1:
                                    raise UndecodableError("a boolean is neither 0 nor 1")
                                value24 = b[p] == 1
                                p += 1
                            elif k == 4:
                                value24, p = long_at(b, p)
                            elif k == 6:
                                value24 = double_at(b, p)[0]
                                p += 8
                            else:
                                k, p = index_at(b, p - 1, 5, "a union's")
                                continue
                            break
                        map22[name23] = value24
                    if end26 is not None:
                        require_end(end26, p)
                        end26 = None
                    count25 = b[p]
                    if count25 & 129:
                        count25, p, end26 = block_at(b, p)
                    else:
                        count25 >>= 1
                        p += 1
                field21 = map22
                element10 = Item(field13, field19, field14, field15, field16, field17, field18, field20, field21)
                array9.append(element10)
            if end12 is not None:
                require_end(end12, p)
                end12 = None
            count11 = b[p]
            if count11 & 129:
                count11, p, end12 = block_at(b, p)
            else:
                count11 >>= 1
                p += 1
        field8 = array9
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field27 = b[p:q].decode()
                p = q
            elif k == 0:
                field27 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field28 = b[p:q].decode()
                p = q
            elif k == 0:
                field28 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field29 = b[p:q].decode()
                p = q
            elif k == 0:
                field29 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field30 = b[p:q].decode()
                p = q
            elif k == 0:
                field30 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field31 = b[p:q].decode()
                p = q
            elif k == 0:
                field31 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field32 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field32 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field33 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field33 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field34 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field34 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field35 = b[p:q].decode()
                p = q
            elif k == 0:
                field35 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field36 = b[p:q].decode()
                p = q
            elif k == 0:
                field36 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field37 = b[p:q].decode()
                p = q
            elif k == 0:
                field37 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field38 = b[p:q].decode()
                p = q
            elif k == 0:
                field38 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field39 = b[p:q].decode()
                p = q
            elif k == 0:
                field39 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field40 = b[p:q].decode()
                p = q
            elif k == 0:
                field40 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field41 = b[p:q].decode()
                p = q
            elif k == 0:
                field41 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field42 = b[p:q].decode()
                p = q
            elif k == 0:
                field42 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        k = b[p]
        p += 1
        while True:
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field43 = b[p:q].decode()
                p = q
            elif k == 0:
                field43 = None
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        map45: dict[str, Any] = {}
        end49: int | None = None
        count48 = b[p]
        if count48 & 129:
            count48, p, end49 = block_at(b, p)
        else:
            count48 >>= 1
            p += 1
        while count48:
            for _ in range(count48):
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                name46 = b[p:q].decode()
                p = q
                value47: Any
                k = b[p]
                p += 1
                while True:
                    if k == 8:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        value47 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        value47 = None
                    elif k == 2:
                        if b[p] > 1:
                            raise UndecodableError("a boolean is neither 0 nor 1")
                        value47 = b[p] == 1
                        p += 1
                    elif k == 4:
                        value47, p = long_at(b, p)
                    elif k == 6:
                        value47 = double_at(b, p)[0]
                        p += 8
                    else:
                        k, p = index_at(b, p - 1, 5, "a union's")
                        continue
                    break
                map45[name46] = value47
            if end49 is not None:
                require_end(end49, p)
                end49 = None
            count48 = b[p]
            if count48 & 129:
                count48, p, end49 = block_at(b, p)
            else:
                count48 >>= 1
                p += 1
        field44 = map45
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field50 = b[p:q].decode()
        p = q
        field51, p = long_at(b, p)
        field52, p = long_at(b, p)
        field53, p = long_at(b, p)
        field54 = b[p]
        if field54 & 129:
            field54, p = int_at(b, p)
        else:
            field54 >>= 1
            p += 1
        field55 = b[p]
        if field55 & 129:
            field55, p = int_at(b, p)
        else:
            field55 >>= 1
            p += 1
        field56, p = long_at(b, p)
        k = b[p]
        p += 1
        while True:
            if k == 0:
                field57 = None
            elif k == 2:
                field57, p = long_at(b, p)
            else:
                k, p = index_at(b, p - 1, 2, "a union's")
                continue
            break
        value = Order(
            field1,
            field2,
            field3,
            field4,
            field5,
            field6,
            field50,
            field51,
            field52,
            field53,
            field54,
            field55,
            field56,
            PlainItems(tuple(field8)),
            field44,
            field7,
            field27,
            field28,
            field29,
            field30,
            field31,
            field32,
            field33,
            field34,
            field35,
            field36,
            field37,
            field38,
            field39,
            field40,
            field41,
            field42,
            field43,
            field57,
        )
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise malformed(b, max(p, q), error) from error
    if p != len(b):
        raise malformed(b, p)
    return value


def map_bytes(scalars: dict[str, Any]) -> bytes:
    """Write a map that is not empty."""
    parts = [LENGTHS[len(scalars)]]
    add = parts.append
    for name, value in scalars.items():
        raw = name.encode()
        add(LENGTHS[len(raw)])
        add(raw)
        kind = value.__class__
        if kind is str:
            raw = value.encode()
            add(_FOUR[len(raw)])
            add(raw)
        elif kind is bool:
            add(b"\x02")
            add(b"\1" if value else b"\0")
        elif kind is int:
            add(b"\x04")
            add(long_bytes(value))
        elif kind is float:
            add(b"\x06")
            add(double_bytes(value))
        elif value is None:
            add(b"\x00")
        else:
            raise TypeError(f"a value of type {kind}")
    add(b"\0")
    return b"".join(parts)


def item_bytes(item: Item) -> bytes:
    """Write one OrderItem."""
    (external_item_id_, quantity_, name_, category_, url_, image_url_, description_, cost_, custom_) = astuple(item)
    return b"".join(
        (
            LENGTHS[len(r := external_item_id_.encode())],
            r,
            b"\0" if name_ is None else _ONE[len(r := name_.encode())] + r,
            b"\0" if category_ is None else _ONE[len(r := category_.encode())] + r,
            b"\0" if url_ is None else _ONE[len(r := url_.encode())] + r,
            b"\0" if image_url_ is None else _ONE[len(r := image_url_.encode())] + r,
            b"\0" if description_ is None else _ONE[len(r := description_.encode())] + r,
            double_bytes(quantity_),
            b"\0" if cost_ is None else b"\2" + amount_bytes(cost_),
            map_bytes(custom_) if custom_ else b"\0",
        )
    )


def packed_items(items: tuple[Item, ...]) -> bytes:
    """Write the items of an OrderFact."""
    try:
        return LENGTHS[len(items)] + b"".join([item_bytes(item) for item in items]) + b"\0" if items else b"\0"
    except IndexError:
        return long_packed_items(items)


def fact_1_bytes(order: Order, header: bytes = _FACT_1) -> bytes:
    """Write one OrderFact."""
    (
        external_order_id_,
        contact_id_,
        identified_by_,
        status_,
        date_ms_,
        total_cost_,
        event_type_,
        created_at_ms_,
        updated_at_ms_,
        status_changed_at_ms_,
        revision_,
        source_partition_,
        source_offset_,
        items_,
        custom_,
        currency_,
        external_customer_id_,
        email_,
        phone_,
        first_name_,
        last_name_,
        shipping_,
        discount_,
        taxes_,
        status_description_,
        restore_url_,
        store_id_,
        source_,
        delivery_method_,
        payment_method_,
        delivery_address_,
        additional_info_,
        cart_id_,
        _,
    ) = astuple(order)
    try:
        return b"".join(
            (
                header,
                LENGTHS[len(r := external_order_id_.encode())],
                r,
                LENGTHS[len(r := contact_id_.encode())],
                r,
                LENGTHS[len(r := identified_by_.encode())],
                r,
                STATUSES[status_],
                long_bytes(date_ms_),
                amount_bytes(total_cost_),
                b"\0" if currency_ is None else _ONE[len(r := currency_.encode())] + r,
                items_ if isinstance(items_, bytes) else packed_items(items_.lines),
                b"\0" if external_customer_id_ is None else _ONE[len(r := external_customer_id_.encode())] + r,
                b"\0" if email_ is None else _ONE[len(r := email_.encode())] + r,
                b"\0" if phone_ is None else _ONE[len(r := phone_.encode())] + r,
                b"\0" if first_name_ is None else _ONE[len(r := first_name_.encode())] + r,
                b"\0" if last_name_ is None else _ONE[len(r := last_name_.encode())] + r,
                b"\0" if shipping_ is None else b"\2" + amount_bytes(shipping_),
                b"\0" if discount_ is None else b"\2" + amount_bytes(discount_),
                b"\0" if taxes_ is None else b"\2" + amount_bytes(taxes_),
                b"\0" if status_description_ is None else _ONE[len(r := status_description_.encode())] + r,
                b"\0" if restore_url_ is None else _ONE[len(r := restore_url_.encode())] + r,
                b"\0" if store_id_ is None else _ONE[len(r := store_id_.encode())] + r,
                b"\0" if source_ is None else _ONE[len(r := source_.encode())] + r,
                b"\0" if delivery_method_ is None else _ONE[len(r := delivery_method_.encode())] + r,
                b"\0" if payment_method_ is None else _ONE[len(r := payment_method_.encode())] + r,
                b"\0" if delivery_address_ is None else _ONE[len(r := delivery_address_.encode())] + r,
                b"\0" if additional_info_ is None else _ONE[len(r := additional_info_.encode())] + r,
                b"\0" if cart_id_ is None else _ONE[len(r := cart_id_.encode())] + r,
                map_bytes(custom_) if custom_ else b"\0",
                LENGTHS[len(r := event_type_.encode())],
                r,
                (n := long_bytes(created_at_ms_)),
                n if updated_at_ms_ == created_at_ms_ else (n := long_bytes(updated_at_ms_)),
                n if status_changed_at_ms_ == updated_at_ms_ else long_bytes(status_changed_at_ms_),
                LENGTHS[revision_] if 0 <= revision_ < 8192 else long_bytes(revision_),
                LENGTHS[source_partition_] if 0 <= source_partition_ < 8192 else long_bytes(source_partition_),
                long_bytes(source_offset_),
            )
        )
    except IndexError:
        return long_fact_1_bytes(order, header)


def fact_2_bytes(order: Order, header: bytes = _FACT_2) -> bytes:
    """Write one OrderFact."""
    (
        external_order_id_,
        contact_id_,
        identified_by_,
        status_,
        date_ms_,
        total_cost_,
        event_type_,
        created_at_ms_,
        updated_at_ms_,
        status_changed_at_ms_,
        revision_,
        source_partition_,
        source_offset_,
        items_,
        custom_,
        currency_,
        external_customer_id_,
        email_,
        phone_,
        first_name_,
        last_name_,
        shipping_,
        discount_,
        taxes_,
        status_description_,
        restore_url_,
        store_id_,
        source_,
        delivery_method_,
        payment_method_,
        delivery_address_,
        additional_info_,
        cart_id_,
        occurred_at_ms_,
    ) = astuple(order)
    try:
        return b"".join(
            (
                header,
                LENGTHS[len(r := external_order_id_.encode())],
                r,
                LENGTHS[len(r := contact_id_.encode())],
                r,
                LENGTHS[len(r := identified_by_.encode())],
                r,
                STATUSES[status_],
                long_bytes(date_ms_),
                amount_bytes(total_cost_),
                b"\0" if currency_ is None else _ONE[len(r := currency_.encode())] + r,
                items_ if isinstance(items_, bytes) else packed_items(items_.lines),
                b"\0" if external_customer_id_ is None else _ONE[len(r := external_customer_id_.encode())] + r,
                b"\0" if email_ is None else _ONE[len(r := email_.encode())] + r,
                b"\0" if phone_ is None else _ONE[len(r := phone_.encode())] + r,
                b"\0" if first_name_ is None else _ONE[len(r := first_name_.encode())] + r,
                b"\0" if last_name_ is None else _ONE[len(r := last_name_.encode())] + r,
                b"\0" if shipping_ is None else b"\2" + amount_bytes(shipping_),
                b"\0" if discount_ is None else b"\2" + amount_bytes(discount_),
                b"\0" if taxes_ is None else b"\2" + amount_bytes(taxes_),
                b"\0" if status_description_ is None else _ONE[len(r := status_description_.encode())] + r,
                b"\0" if restore_url_ is None else _ONE[len(r := restore_url_.encode())] + r,
                b"\0" if store_id_ is None else _ONE[len(r := store_id_.encode())] + r,
                b"\0" if source_ is None else _ONE[len(r := source_.encode())] + r,
                b"\0" if delivery_method_ is None else _ONE[len(r := delivery_method_.encode())] + r,
                b"\0" if payment_method_ is None else _ONE[len(r := payment_method_.encode())] + r,
                b"\0" if delivery_address_ is None else _ONE[len(r := delivery_address_.encode())] + r,
                b"\0" if additional_info_ is None else _ONE[len(r := additional_info_.encode())] + r,
                b"\0" if cart_id_ is None else _ONE[len(r := cart_id_.encode())] + r,
                map_bytes(custom_) if custom_ else b"\0",
                LENGTHS[len(r := event_type_.encode())],
                r,
                (n := long_bytes(created_at_ms_)),
                n if updated_at_ms_ == created_at_ms_ else (n := long_bytes(updated_at_ms_)),
                n if status_changed_at_ms_ == updated_at_ms_ else long_bytes(status_changed_at_ms_),
                LENGTHS[revision_] if 0 <= revision_ < 8192 else long_bytes(revision_),
                LENGTHS[source_partition_] if 0 <= source_partition_ < 8192 else long_bytes(source_partition_),
                long_bytes(source_offset_),
                b"\0" if occurred_at_ms_ is None else b"\2" + long_bytes(occurred_at_ms_),
            )
        )
    except IndexError:
        return long_fact_2_bytes(order, header)


def long_map_bytes(scalars: dict[str, Any]) -> bytes:
    """Write a map that is not empty."""
    parts = [long_bytes(len(scalars))]
    add = parts.append
    for name, value in scalars.items():
        raw = name.encode()
        add(long_bytes(len(raw)))
        add(raw)
        kind = value.__class__
        if kind is str:
            raw = value.encode()
            add(b"\x08" + long_bytes(len(raw)))
            add(raw)
        elif kind is bool:
            add(b"\x02")
            add(b"\1" if value else b"\0")
        elif kind is int:
            add(b"\x04")
            add(long_bytes(value))
        elif kind is float:
            add(b"\x06")
            add(double_bytes(value))
        elif value is None:
            add(b"\x00")
        else:
            raise TypeError(f"a value of type {kind}")
    add(b"\0")
    return b"".join(parts)


def long_item_bytes(item: Item) -> bytes:
    """Write one OrderItem."""
    (external_item_id_, quantity_, name_, category_, url_, image_url_, description_, cost_, custom_) = astuple(item)
    return b"".join(
        (
            long_bytes(len(r := external_item_id_.encode())),
            r,
            b"\0" if name_ is None else b"\x02" + long_bytes(len(r := name_.encode())) + r,
            b"\0" if category_ is None else b"\x02" + long_bytes(len(r := category_.encode())) + r,
            b"\0" if url_ is None else b"\x02" + long_bytes(len(r := url_.encode())) + r,
            b"\0" if image_url_ is None else b"\x02" + long_bytes(len(r := image_url_.encode())) + r,
            b"\0" if description_ is None else b"\x02" + long_bytes(len(r := description_.encode())) + r,
            double_bytes(quantity_),
            b"\0" if cost_ is None else b"\2" + amount_bytes(cost_),
            long_map_bytes(custom_) if custom_ else b"\0",
        )
    )


def long_packed_items(items: tuple[Item, ...]) -> bytes:
    """Write the items of an OrderFact."""
    return long_bytes(len(items)) + b"".join([long_item_bytes(item) for item in items]) + b"\0" if items else b"\0"


def long_fact_1_bytes(order: Order, header: bytes = _FACT_1) -> bytes:
    """Write one OrderFact."""
    (
        external_order_id_,
        contact_id_,
        identified_by_,
        status_,
        date_ms_,
        total_cost_,
        event_type_,
        created_at_ms_,
        updated_at_ms_,
        status_changed_at_ms_,
        revision_,
        source_partition_,
        source_offset_,
        items_,
        custom_,
        currency_,
        external_customer_id_,
        email_,
        phone_,
        first_name_,
        last_name_,
        shipping_,
        discount_,
        taxes_,
        status_description_,
        restore_url_,
        store_id_,
        source_,
        delivery_method_,
        payment_method_,
        delivery_address_,
        additional_info_,
        cart_id_,
        _,
    ) = astuple(order)
    return b"".join(
        (
            header,
            long_bytes(len(r := external_order_id_.encode())),
            r,
            long_bytes(len(r := contact_id_.encode())),
            r,
            long_bytes(len(r := identified_by_.encode())),
            r,
            STATUSES[status_],
            long_bytes(date_ms_),
            amount_bytes(total_cost_),
            b"\0" if currency_ is None else b"\x02" + long_bytes(len(r := currency_.encode())) + r,
            items_ if isinstance(items_, bytes) else long_packed_items(items_.lines),
            b"\0"
            if external_customer_id_ is None
            else b"\x02" + long_bytes(len(r := external_customer_id_.encode())) + r,
            b"\0" if email_ is None else b"\x02" + long_bytes(len(r := email_.encode())) + r,
            b"\0" if phone_ is None else b"\x02" + long_bytes(len(r := phone_.encode())) + r,
            b"\0" if first_name_ is None else b"\x02" + long_bytes(len(r := first_name_.encode())) + r,
            b"\0" if last_name_ is None else b"\x02" + long_bytes(len(r := last_name_.encode())) + r,
            b"\0" if shipping_ is None else b"\2" + amount_bytes(shipping_),
            b"\0" if discount_ is None else b"\2" + amount_bytes(discount_),
            b"\0" if taxes_ is None else b"\2" + amount_bytes(taxes_),
            b"\0" if status_description_ is None else b"\x02" + long_bytes(len(r := status_description_.encode())) + r,
            b"\0" if restore_url_ is None else b"\x02" + long_bytes(len(r := restore_url_.encode())) + r,
            b"\0" if store_id_ is None else b"\x02" + long_bytes(len(r := store_id_.encode())) + r,
            b"\0" if source_ is None else b"\x02" + long_bytes(len(r := source_.encode())) + r,
            b"\0" if delivery_method_ is None else b"\x02" + long_bytes(len(r := delivery_method_.encode())) + r,
            b"\0" if payment_method_ is None else b"\x02" + long_bytes(len(r := payment_method_.encode())) + r,
            b"\0" if delivery_address_ is None else b"\x02" + long_bytes(len(r := delivery_address_.encode())) + r,
            b"\0" if additional_info_ is None else b"\x02" + long_bytes(len(r := additional_info_.encode())) + r,
            b"\0" if cart_id_ is None else b"\x02" + long_bytes(len(r := cart_id_.encode())) + r,
            long_map_bytes(custom_) if custom_ else b"\0",
            long_bytes(len(r := event_type_.encode())),
            r,
            (n := long_bytes(created_at_ms_)),
            n if updated_at_ms_ == created_at_ms_ else (n := long_bytes(updated_at_ms_)),
            n if status_changed_at_ms_ == updated_at_ms_ else long_bytes(status_changed_at_ms_),
            LENGTHS[revision_] if 0 <= revision_ < 8192 else long_bytes(revision_),
            LENGTHS[source_partition_] if 0 <= source_partition_ < 8192 else long_bytes(source_partition_),
            long_bytes(source_offset_),
        )
    )


def long_fact_2_bytes(order: Order, header: bytes = _FACT_2) -> bytes:
    """Write one OrderFact."""
    (
        external_order_id_,
        contact_id_,
        identified_by_,
        status_,
        date_ms_,
        total_cost_,
        event_type_,
        created_at_ms_,
        updated_at_ms_,
        status_changed_at_ms_,
        revision_,
        source_partition_,
        source_offset_,
        items_,
        custom_,
        currency_,
        external_customer_id_,
        email_,
        phone_,
        first_name_,
        last_name_,
        shipping_,
        discount_,
        taxes_,
        status_description_,
        restore_url_,
        store_id_,
        source_,
        delivery_method_,
        payment_method_,
        delivery_address_,
        additional_info_,
        cart_id_,
        occurred_at_ms_,
    ) = astuple(order)
    return b"".join(
        (
            header,
            long_bytes(len(r := external_order_id_.encode())),
            r,
            long_bytes(len(r := contact_id_.encode())),
            r,
            long_bytes(len(r := identified_by_.encode())),
            r,
            STATUSES[status_],
            long_bytes(date_ms_),
            amount_bytes(total_cost_),
            b"\0" if currency_ is None else b"\x02" + long_bytes(len(r := currency_.encode())) + r,
            items_ if isinstance(items_, bytes) else long_packed_items(items_.lines),
            b"\0"
            if external_customer_id_ is None
            else b"\x02" + long_bytes(len(r := external_customer_id_.encode())) + r,
            b"\0" if email_ is None else b"\x02" + long_bytes(len(r := email_.encode())) + r,
            b"\0" if phone_ is None else b"\x02" + long_bytes(len(r := phone_.encode())) + r,
            b"\0" if first_name_ is None else b"\x02" + long_bytes(len(r := first_name_.encode())) + r,
            b"\0" if last_name_ is None else b"\x02" + long_bytes(len(r := last_name_.encode())) + r,
            b"\0" if shipping_ is None else b"\2" + amount_bytes(shipping_),
            b"\0" if discount_ is None else b"\2" + amount_bytes(discount_),
            b"\0" if taxes_ is None else b"\2" + amount_bytes(taxes_),
            b"\0" if status_description_ is None else b"\x02" + long_bytes(len(r := status_description_.encode())) + r,
            b"\0" if restore_url_ is None else b"\x02" + long_bytes(len(r := restore_url_.encode())) + r,
            b"\0" if store_id_ is None else b"\x02" + long_bytes(len(r := store_id_.encode())) + r,
            b"\0" if source_ is None else b"\x02" + long_bytes(len(r := source_.encode())) + r,
            b"\0" if delivery_method_ is None else b"\x02" + long_bytes(len(r := delivery_method_.encode())) + r,
            b"\0" if payment_method_ is None else b"\x02" + long_bytes(len(r := payment_method_.encode())) + r,
            b"\0" if delivery_address_ is None else b"\x02" + long_bytes(len(r := delivery_address_.encode())) + r,
            b"\0" if additional_info_ is None else b"\x02" + long_bytes(len(r := additional_info_.encode())) + r,
            b"\0" if cart_id_ is None else b"\x02" + long_bytes(len(r := cart_id_.encode())) + r,
            long_map_bytes(custom_) if custom_ else b"\0",
            long_bytes(len(r := event_type_.encode())),
            r,
            (n := long_bytes(created_at_ms_)),
            n if updated_at_ms_ == created_at_ms_ else (n := long_bytes(updated_at_ms_)),
            n if status_changed_at_ms_ == updated_at_ms_ else long_bytes(status_changed_at_ms_),
            LENGTHS[revision_] if 0 <= revision_ < 8192 else long_bytes(revision_),
            LENGTHS[source_partition_] if 0 <= source_partition_ < 8192 else long_bytes(source_partition_),
            long_bytes(source_offset_),
            b"\0" if occurred_at_ms_ is None else b"\2" + long_bytes(occurred_at_ms_),
        )
    )


EVENT_DECODERS: Final = {b"\xc3\x01\xb4\xa6vP\xbdA\x90,": event_1_at, b"\xc3\x01r\x7f\xfdQ\x96\t\xb3|": event_2_at}
FACT_DECODERS: Final = {b"\xc3\x01GE\xbd\x1b\xab\xb2\x0e\xc1": fact_1_at, b"\xc3\x01\xa0{\xbe\xed\x9a)q\x84": fact_2_at}
FACT_ENCODERS: Final = {1: fact_1_bytes, 2: fact_2_bytes}
