"""Whether two answers are one: number 1 is 1.0, the order of an object's members is nobody's business, and neither
is the last digit of a sine."""

import json
import math

RELATIVE_ERROR_MAX = 1e-9


def same(one, two):
    """Whether two values are one value."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, (int, float)) and isinstance(two, (int, float)):
        return one == two or math.isclose(one, two, rel_tol=RELATIVE_ERROR_MAX, abs_tol=1e-12)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    return type(one) is type(two) and one == two


def sorted_rows(rows):
    """Rows in an order that doesn't depend on where they came from."""
    def key(row):
        return json.dumps(rounded(row), sort_keys=True, ensure_ascii=True)
    return sorted(rows, key=key)


def rounded(value):
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return f"{float(value) + 0.0:.6g}"
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {name: rounded(member) for name, member in value.items()}
    return value


NOTHING = object()


def differences(question, ours, theirs):
    """Pairs of rows (or of keys) that differ, `NOTHING` for one that is missing; empty if the answers are one."""
    if question.order == "exact":
        return pairs(ours, theirs)
    if question.order == "keys":
        def keys(rows):
            return [row.get("k", NOTHING) for row in rows]
        wrong = [pair for pair in zip(keys(ours), keys(theirs)) if not (pair[0] is pair[1] or same(*pair))]
        if wrong:
            return wrong
    return unmatched(sorted_rows(ours), sorted_rows(theirs))


def pairs(ours, theirs):
    """What stands at one place and isn't the same, if rows have an order."""
    if len(ours) != len(theirs):
        return unmatched(ours, theirs)
    return [pair for pair in zip(ours, theirs) if not same(*pair)]


def unmatched(ours, theirs):
    """Rows that the other side has not, each as often as that."""
    left, right = [], list(theirs)
    for row in ours:
        at = next((at for at, other in enumerate(right) if same(row, other)), None)
        if at is None:
            left.append(row)
        else:
            del right[at]
    if len(left) == len(right):
        return list(zip(left, right))
    return [(row, NOTHING) for row in left] + [(NOTHING, row) for row in right]
