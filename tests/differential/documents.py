"""Documents for queries to be asked about: every type at some path, every property missing now and then."""

TEXTS = [
    "", "a", "b", "A", "ab", "abc", "Abc", "abcabc", " a ", "a b", "a.b", "1", "1.5", " 60 ", "true", "null", "[1]",
    '{"a":1}', "x%y", "x_y", "[x]", "é", "É", "e\u0301", "ß", "Å", "\ufb01", "\ue000", "\U0001f600", "a\U0001f600b",
    "tab\there", "quote\"s", "it's", "back\\slash", "2026-01-31T10:20:30.1234567Z", "2024-02-29T00:00:00.0000000Z",
]
NUMBERS = [0, 1, 2, 3, -1, -2, 5, 7, 10, 100, -7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.25, 0.1, 1e10, 1e-7, 123456.789]
DATES = [
    "2026-01-31T10:20:30.1234567Z", "2024-02-29T00:00:00.0000000Z", "1999-12-31T23:59:59.9999999Z",
    "1970-01-01T00:00:00.0000000Z", "2026-07-15T12:00:00.0000000Z",
]


def scalar(chance):
    kind = chance.randrange(10)
    if kind < 4:
        return chance.choice(NUMBERS)
    if kind < 8:
        return chance.choice(TEXTS)
    return chance.choice([True, False, None])


def value(chance, depth=2):
    kind = chance.randrange(8)
    if depth == 0 or kind < 5:
        return scalar(chance)
    if kind == 5:
        return {name: value(chance, depth - 1) for name in chance.sample(["x", "y", "z"], chance.randrange(3))}
    return [value(chance, depth - 1) for _ in range(chance.randrange(4))]


def document(chance, number, regular):
    """Most properties have one type; `mix` has any, `unique` differs in each document and covers all scalars. In
    `regular` documents every property is there and has its type."""
    unique = [number, f"u{number}", number + 0.5, -number][number % 4]
    if number < 3:
        unique = [None, True, False][number]
    properties = {
        "num": chance.choice(NUMBERS),
        "whole": chance.randrange(-5, 12),
        "text": chance.choice(TEXTS),
        "name": chance.choice(["ann", "bob", "Bob", "cai"]),
        "flag": chance.random() < 0.5,
        "day": chance.choice(DATES),
        "mix": value(chance),
        "list": [scalar(chance) for _ in range(chance.randrange(5))],
        "numbers": [chance.randrange(6) for _ in range(chance.randrange(5))],
        "texts": [chance.choice(TEXTS) for _ in range(chance.randrange(4))],
        "parts": [{"k": chance.choice(["a", "b", "c"]), "n": chance.randrange(4)} for _ in range(chance.randrange(4))],
        "inner": {"x": scalar(chance), "y": {"z": chance.choice(NUMBERS)}, "w": [1, 2, chance.randrange(4)]},
    }
    found = {"id": f"d{number:03}", "pk": "p", "n": number, "unique": unique}
    for name, content in properties.items():
        roll = 0.5 if regular else chance.random()
        if roll < 0.05:
            found[name] = None
        elif roll < 0.09:
            found[name] = scalar(chance)
        elif roll < 0.90:
            found[name] = content
    return found


def documents(chance, count, regular):
    return [document(chance, number, regular) for number in range(count)]
