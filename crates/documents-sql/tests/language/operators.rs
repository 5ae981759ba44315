//! Operators and undefined, by the tables of the language.

use serde_json::json;

use crate::{run, table};

#[test]
fn equality_and_order() {
    table(&[
        ("U = U", "U"),
        ("null = null", "true"),
        ("1 = '1'", "false"),
        ("'a' != null", "true"),
        ("1 != null", "true"),
        ("U != null", "U"),
        ("1 < '1'", "U"),
        ("null < 1", "U"),
        ("null <= null", "true"),
        ("[] = {}", "false"),
        ("[] = []", "true"),
        ("{a:1,b:2} = {b:2,a:1}", "true"),
        ("{a:1} = {a:1,b:2}", "false"),
        ("[1,2] = [2,1]", "false"),
        ("1 = 1.0", "true"),
        ("-0.0 = 0", "true"),
        ("9007199254740993 = 9007199254740992", "false"),
        ("9007199254740993 > 9007199254740992.0", "true"),
        ("1 <> 2", "true"),
        ("'a' < 'b'", "true"),
        ("'B' < 'a'", "true"),
        ("'\u{e000}' > '\u{1f600}'", "true"),
        ("false < true", "true"),
        ("1 < 2 = true", "true"),
    ]);
}

#[test]
fn logic() {
    table(&[
        ("false AND U", "false"),
        ("U AND false", "false"),
        ("true AND U", "U"),
        ("true OR U", "true"),
        ("U OR true", "true"),
        ("false OR U", "U"),
        ("NOT U", "U"),
        ("NOT 1", "U"),
        ("NOT false", "true"),
        ("true AND 1", "U"),
        ("false AND 1", "false"),
        ("NOT 1 = 2", "true"),
        ("NOT true OR true", "true"),
        ("true OR true AND false", "true"),
        ("null ?? 5", "null"),
        ("U ?? 5", "5"),
        ("U ?? U ?? 6", "6"),
        ("null ? 3 : 5", "5"),
        ("U ? 3 : 5", "5"),
        ("true ? 3 : 5", "3"),
        ("true ? {x:1} : {x:2}.x", r#"{"x":1}"#),
        ("1 ? 2 ?? 3 : 4", "4"),
        ("true ? U ?? 3 : 4", "3"),
        ("false ? 1 : false ? 2 : 3", "3"),
    ]);
}

#[test]
fn tests_of_range_list_and_pattern() {
    table(&[
        ("4 NOT BETWEEN 3 AND 5", "false"),
        ("4 BETWEEN 3 AND 5", "true"),
        ("3 BETWEEN 3 AND 3", "true"),
        ("'x' BETWEEN 3 AND 5", "U"),
        ("U BETWEEN 1 AND 2", "U"),
        ("2 BETWEEN 3 AND U", "false"),
        ("U IN (1)", "U"),
        ("U NOT IN (1)", "U"),
        ("1 NOT IN (2,3)", "true"),
        ("1 IN (2,1.0)", "true"),
        ("1 IN (U, 1)", "true"),
        ("1 IN (U, 2)", "U"),
        ("{a:1} IN ([1], {a:1})", "true"),
        ("'abc' LIKE 'a%'", "true"),
        ("'abc' NOT LIKE 'a%'", "false"),
        ("1 LIKE 'a%'", "U"),
        ("'a%c' LIKE 'a!%c' ESCAPE '!'", "true"),
        ("'abc' LIKE 'a!%c' ESCAPE '!'", "false"),
        ("1 + 1 IN (2)", "true"),
        ("1 IN (1) AND 2 IN (2)", "true"),
    ]);
}

#[test]
fn arithmetic() {
    table(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 - 2 - 1", "4"),
        ("'a' + 'b'", "U"),
        ("-'1'", "U"),
        ("-5", "-5"),
        ("- -5", "5"),
        ("+'1'", "U"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("5 / 0", "U"),
        ("0 / 0", "U"),
        ("5 % 0", "U"),
        ("5 / 2", "2.5"),
        ("4 / 2", "2"),
        ("-7 % 3", "-1"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("9223372036854775807 + 0", "9223372036854775807"),
        ("9223372036854775807 + 1", "9223372036854775808.0"),
        ("9007199254740993 * 1", "9007199254740993"),
        ("1e308 * 10", "U"),
        ("1.5 + 1.5", "3"),
        ("null + 1", "U"),
        ("0x1F + .5", "31.5"),
    ]);
}

#[test]
fn bits_and_concatenation() {
    table(&[
        ("'a' || 'b'", r#""ab""#),
        ("'a' || 1", "U"),
        ("'a' || 'b' || 'c' = 'abc'", "true"),
        ("3 & 5", "1"),
        ("3 ^ 5", "6"),
        ("3 | 5", "7"),
        ("~130679749712577953", "-1022657953"),
        ("~0", "-1"),
        ("1 << 4", "16"),
        ("-8 >> 1", "-4"),
        ("-1 >>> 0", "4294967295"),
        ("100 >>> 0", "100"),
        ("1 | 2 = 3", "true"),
        ("'a' & 1", "U"),
        ("1 + 1 << 2", "8"),
    ]);
}

#[test]
fn members_and_building() {
    table(&[
        ("[1,U,2]", "[1,2]"),
        ("{a: U, b: 1}", r#"{"b":1}"#),
        ("{'a b': 1}['a b']", "1"),
        ("[10,20][1]", "20"),
        ("[10,20][2]", "U"),
        ("[10,20][-1]", "U"),
        ("[10,20]['x']", "U"),
        ("{a:1}[5]", "U"),
        ("{a:1}.b.c", "U"),
        ("{a:[{b:7}]}.a[0].b", "7"),
        ("{a:1}['a']", "1"),
        ("[[1,2],[3]][0][1.0]", "2"),
    ]);
    let document = json!({"arr": [1, 2], "o": {"k": "arr"}, "value": 3, "order": 4});
    let one = |expression: &str| {
        run(
            &format!("SELECT VALUE {expression} FROM c"),
            std::slice::from_ref(&document),
        )
        .pop()
    };
    assert_eq!(one("c.arr['x']"), None);
    assert_eq!(one("c[5]"), None);
    assert_eq!(one("c[c.o.k][1]"), Some(json!(2)));
    assert_eq!(one("c.value"), Some(json!(3)));
    assert_eq!(one("c['value']"), Some(json!(3)));
    assert_eq!(one("c.order"), Some(json!(4)));
}
