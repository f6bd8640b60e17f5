"""Made from the newest schemas by deploy/build/codegen.py; change that and run `make codec`, not this.

Long on purpose: a call for each value would cost more than reading it.
"""

from typing import Any, Final

from msgspec.structs import astuple

from processor.codec.varints import (
    LENGTHS,
    SOME_LENGTHS,
    UnusualAvro,
    amount_bytes,
    double_at,
    double_bytes,
    length_at,
    long_at,
    long_bytes,
)
from processor.domain.records import MAX_ELEMENTS, Event, Item, Order, PlainItems

EVENT_HEADER: Final = b"\xc3\x01\xb4\xa6vP\xbdA\x90,"
FACT_HEADER: Final = b"\xc3\x01GE\xbd\x1b\xab\xb2\x0e\xc1"
_ONE: Final = SOME_LENGTHS[1]
_FOUR: Final = SOME_LENGTHS[4]


def event_at(b: bytes, p: int) -> tuple[Event, int]:
    """Read one OrderEvent at a position; return it and the position after it.

    Raises ValueError, IndexError or struct.error at anything unusual. A length beyond the end shows as a
    position beyond the end.
    """
    left = MAX_ELEMENTS
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
    count4 = b[p]
    if count4 & 129:
        count4, p = length_at(b, p)
    else:
        count4 >>= 1
        p += 1
    while count4:
        total += count4
        left -= count4
        if left < 0:
            raise UnusualAvro
        for _ in range(count4):
            n = b[p]
            if n & 129:
                n, p = length_at(b, p)
                q = p + n
            else:
                p += 1
                q = p + (n >> 1)
            name = b[p:q].decode()
            p = q
            value: Any
            k = b[p]
            p += 1
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                value = b[p:q].decode()
                p = q
            elif k == 0:
                value = None
            elif k == 4:
                if b[p] > 1:
                    raise UnusualAvro
                value = b[p] == 1
                p += 1
            elif k == 6:
                value, p = long_at(b, p)
            elif k == 8:
                value = double_at(b, p)[0]
                p += 8
            elif k == 10:
                array5: list[Any] = []
                count7 = b[p]
                if count7 & 129:
                    count7, p = length_at(b, p)
                else:
                    count7 >>= 1
                    p += 1
                while count7:
                    left -= count7
                    if left < 0:
                        raise UnusualAvro
                    for _ in range(count7):
                        map8: dict[str, Any] = {}
                        count11 = b[p]
                        if count11 & 129:
                            count11, p = length_at(b, p)
                        else:
                            count11 >>= 1
                            p += 1
                        while count11:
                            left -= count11
                            if left < 0:
                                raise UnusualAvro
                            for _ in range(count11):
                                n = b[p]
                                if n & 129:
                                    n, p = length_at(b, p)
                                    q = p + n
                                else:
                                    p += 1
                                    q = p + (n >> 1)
                                name9 = b[p:q].decode()
                                p = q
                                value10: Any
                                k = b[p]
                                p += 1
                                if k == 2:
                                    n = b[p]
                                    if n & 129:
                                        n, p = length_at(b, p)
                                        q = p + n
                                    else:
                                        p += 1
                                        q = p + (n >> 1)
                                    value10 = b[p:q].decode()
                                    p = q
                                elif k == 0:
                                    value10 = None
                                elif k == 4:
                                    if b[p] > 1:
                                        raise UnusualAvro
                                    value10 = b[p] == 1
                                    p += 1
                                elif k == 6:
                                    value10, p = long_at(b, p)
                                elif k == 8:
                                    value10 = double_at(b, p)[0]
                                    p += 8
                                else:
                                    raise UnusualAvro
                                map8[name9] = value10
                            count11 = b[p]
                            if count11 & 129:
                                count11, p = length_at(b, p)
                            else:
                                count11 >>= 1
                                p += 1
                        element6 = map8
                        array5.append(element6)
                    count7 = b[p]
                    if count7 & 129:
                        count7, p = length_at(b, p)
                    else:
                        count7 >>= 1
                        p += 1
                value = array5
            else:
                raise UnusualAvro
            field3[name] = value
        count4 = b[p]
        if count4 & 129:
            count4, p = length_at(b, p)
        else:
            count4 >>= 1
            p += 1
    if len(field3) != total:
        raise UnusualAvro
    record = Event(field1, field2, field3)
    return record, p


def items_at(b: bytes, p: int) -> tuple[list[Item], int]:
    """Read the items of an OrderFact at a position; return it and the position after it.

    Raises ValueError, IndexError or struct.error at anything unusual. A length beyond the end shows as a
    position beyond the end.
    """
    array1: list[Any] = []
    count3 = b[p]
    if count3 & 129:
        count3, p = length_at(b, p)
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
            field4 = b[p:q].decode()
            p = q
            k = b[p]
            p += 1
            if k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                field5 = b[p:q].decode()
                p = q
            elif k == 0:
                field5 = None
            else:
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            field10 = double_at(b, p)[0]
            p += 8
            k = b[p]
            p += 1
            if k == 0:
                field11 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field11 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                raise UnusualAvro
            map13: dict[str, Any] = {}
            count16 = b[p]
            if count16 & 129:
                count16, p = length_at(b, p)
            else:
                count16 >>= 1
                p += 1
            while count16:
                for _ in range(count16):
                    n = b[p]
                    if n & 129:
                        n, p = length_at(b, p)
                        q = p + n
                    else:
                        p += 1
                        q = p + (n >> 1)
                    name14 = b[p:q].decode()
                    p = q
                    value15: Any
                    k = b[p]
                    p += 1
                    if k == 8:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        value15 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        value15 = None
                    elif k == 2:
                        if b[p] > 1:
                            raise UnusualAvro
                        value15 = b[p] == 1
                        p += 1
                    elif k == 4:
                        value15, p = long_at(b, p)
                    elif k == 6:
                        value15 = double_at(b, p)[0]
                        p += 8
                    else:
                        raise UnusualAvro
                    map13[name14] = value15
                count16 = b[p]
                if count16 & 129:
                    count16, p = length_at(b, p)
                else:
                    count16 >>= 1
                    p += 1
            field12 = map13
            element2 = Item(field4, field10, field5, field6, field7, field8, field9, field11, field12)
            array1.append(element2)
        count3 = b[p]
        if count3 & 129:
            count3, p = length_at(b, p)
        else:
            count3 >>= 1
            p += 1
    record = array1
    return record, p


def fact_at(b: bytes, p: int) -> tuple[Order, int]:
    """Read one OrderFact at a position; return it and the position after it.

    Raises ValueError, IndexError or struct.error at anything unusual. A length beyond the end shows as a
    position beyond the end.
    """
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
    if b[p] & 129:
        raise UnusualAvro
    field4 = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")[b[p] >> 1]
    p += 1
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
        raise UnusualAvro
    array34: list[Any] = []
    count36 = b[p]
    if count36 & 129:
        count36, p = length_at(b, p)
    else:
        count36 >>= 1
        p += 1
    while count36:
        for _ in range(count36):
            n = b[p]
            if n & 129:
                n, p = length_at(b, p)
                q = p + n
            else:
                p += 1
                q = p + (n >> 1)
            field37 = b[p:q].decode()
            p = q
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            k = b[p]
            p += 1
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
                raise UnusualAvro
            field43 = double_at(b, p)[0]
            p += 8
            k = b[p]
            p += 1
            if k == 0:
                field44 = None
            elif k == 2:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                else:
                    n >>= 1
                    p += 1
                field44 = int.from_bytes(b[p : p + n], "big", signed=True)
                p += n
            else:
                raise UnusualAvro
            map46: dict[str, Any] = {}
            count49 = b[p]
            if count49 & 129:
                count49, p = length_at(b, p)
            else:
                count49 >>= 1
                p += 1
            while count49:
                for _ in range(count49):
                    n = b[p]
                    if n & 129:
                        n, p = length_at(b, p)
                        q = p + n
                    else:
                        p += 1
                        q = p + (n >> 1)
                    name47 = b[p:q].decode()
                    p = q
                    value48: Any
                    k = b[p]
                    p += 1
                    if k == 8:
                        n = b[p]
                        if n & 129:
                            n, p = length_at(b, p)
                            q = p + n
                        else:
                            p += 1
                            q = p + (n >> 1)
                        value48 = b[p:q].decode()
                        p = q
                    elif k == 0:
                        value48 = None
                    elif k == 2:
                        if b[p] > 1:
                            raise UnusualAvro
                        value48 = b[p] == 1
                        p += 1
                    elif k == 4:
                        value48, p = long_at(b, p)
                    elif k == 6:
                        value48 = double_at(b, p)[0]
                        p += 8
                    else:
                        raise UnusualAvro
                    map46[name47] = value48
                count49 = b[p]
                if count49 & 129:
                    count49, p = length_at(b, p)
                else:
                    count49 >>= 1
                    p += 1
            field45 = map46
            element35 = Item(field37, field43, field38, field39, field40, field41, field42, field44, field45)
            array34.append(element35)
        count36 = b[p]
        if count36 & 129:
            count36, p = length_at(b, p)
        else:
            count36 >>= 1
            p += 1
    field8 = array34
    k = b[p]
    p += 1
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
        raise UnusualAvro
    k = b[p]
    p += 1
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
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field11 = b[p:q].decode()
        p = q
    elif k == 0:
        field11 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field12 = b[p:q].decode()
        p = q
    elif k == 0:
        field12 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field13 = b[p:q].decode()
        p = q
    elif k == 0:
        field13 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 0:
        field14 = None
    elif k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
        else:
            n >>= 1
            p += 1
        field14 = int.from_bytes(b[p : p + n], "big", signed=True)
        p += n
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 0:
        field15 = None
    elif k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
        else:
            n >>= 1
            p += 1
        field15 = int.from_bytes(b[p : p + n], "big", signed=True)
        p += n
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 0:
        field16 = None
    elif k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
        else:
            n >>= 1
            p += 1
        field16 = int.from_bytes(b[p : p + n], "big", signed=True)
        p += n
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
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
        raise UnusualAvro
    k = b[p]
    p += 1
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
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field19 = b[p:q].decode()
        p = q
    elif k == 0:
        field19 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field20 = b[p:q].decode()
        p = q
    elif k == 0:
        field20 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field21 = b[p:q].decode()
        p = q
    elif k == 0:
        field21 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field22 = b[p:q].decode()
        p = q
    elif k == 0:
        field22 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field23 = b[p:q].decode()
        p = q
    elif k == 0:
        field23 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field24 = b[p:q].decode()
        p = q
    elif k == 0:
        field24 = None
    else:
        raise UnusualAvro
    k = b[p]
    p += 1
    if k == 2:
        n = b[p]
        if n & 129:
            n, p = length_at(b, p)
            q = p + n
        else:
            p += 1
            q = p + (n >> 1)
        field25 = b[p:q].decode()
        p = q
    elif k == 0:
        field25 = None
    else:
        raise UnusualAvro
    map50: dict[str, Any] = {}
    count53 = b[p]
    if count53 & 129:
        count53, p = length_at(b, p)
    else:
        count53 >>= 1
        p += 1
    while count53:
        for _ in range(count53):
            n = b[p]
            if n & 129:
                n, p = length_at(b, p)
                q = p + n
            else:
                p += 1
                q = p + (n >> 1)
            name51 = b[p:q].decode()
            p = q
            value52: Any
            k = b[p]
            p += 1
            if k == 8:
                n = b[p]
                if n & 129:
                    n, p = length_at(b, p)
                    q = p + n
                else:
                    p += 1
                    q = p + (n >> 1)
                value52 = b[p:q].decode()
                p = q
            elif k == 0:
                value52 = None
            elif k == 2:
                if b[p] > 1:
                    raise UnusualAvro
                value52 = b[p] == 1
                p += 1
            elif k == 4:
                value52, p = long_at(b, p)
            elif k == 6:
                value52 = double_at(b, p)[0]
                p += 8
            else:
                raise UnusualAvro
            map50[name51] = value52
        count53 = b[p]
        if count53 & 129:
            count53, p = length_at(b, p)
        else:
            count53 >>= 1
            p += 1
    field26 = map50
    n = b[p]
    if n & 129:
        n, p = length_at(b, p)
        q = p + n
    else:
        p += 1
        q = p + (n >> 1)
    field27 = b[p:q].decode()
    p = q
    field28, p = long_at(b, p)
    field29, p = long_at(b, p)
    field30, p = long_at(b, p)
    field31, p = long_at(b, p)
    if not -2147483648 <= field31 <= 2147483647:
        raise UnusualAvro
    field32, p = long_at(b, p)
    if not -2147483648 <= field32 <= 2147483647:
        raise UnusualAvro
    field33, p = long_at(b, p)
    record = Order(
        field1,
        field2,
        field3,
        field4,
        field5,
        field6,
        field27,
        field28,
        field29,
        field30,
        field31,
        field32,
        field33,
        PlainItems(tuple(field8)),
        field26,
        field7,
        field9,
        field10,
        field11,
        field12,
        field13,
        field14,
        field15,
        field16,
        field17,
        field18,
        field19,
        field20,
        field21,
        field22,
        field23,
        field24,
        field25,
    )
    return record, p


_OrderStatus: Final = {
    "INITIALIZED": b"\x00",
    "IN_PROGRESS": b"\x02",
    "DELIVERED": b"\x04",
    "CANCELLED": b"\x06",
    "ABANDONED_SHOPPING_CART": b"\x08",
}


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
        else:
            raise IndexError(kind)
    add(b"\0")
    return b"".join(parts)


def item_bytes(item: Item) -> bytes:
    """Write one OrderItem. Raises IndexError where a text is longer than usual."""
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
    """Write the items of an OrderFact. Raises IndexError where a text is longer than usual."""
    items_bytes = b"".join([item_bytes(item) for item in items])
    return LENGTHS[len(items)] + items_bytes + b"\0" if items else b"\0"


def fact_bytes(order: Order) -> bytes:
    """Write one OrderFact. Raises IndexError where a text is longer than usual."""
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
    ) = astuple(order)
    return b"".join(
        (
            FACT_HEADER,
            LENGTHS[len(r := external_order_id_.encode())],
            r,
            LENGTHS[len(r := contact_id_.encode())],
            r,
            LENGTHS[len(r := identified_by_.encode())],
            r,
            _OrderStatus[status_],
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
