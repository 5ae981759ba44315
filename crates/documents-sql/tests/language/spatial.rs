//! Spatial functions. Expectations: the language's function pages where a comment says so, else
//! figures that follow from the shapes.

use documents_sql::{ExecError, OrderMode};
use serde_json::{Value, json};

use crate::{compile, execute, table, value};

/// About `share` of the expected number.
#[track_caller]
fn near(expression: &str, expected: f64, share: f64) {
    let found = value(expression).and_then(|v| v.as_f64()).unwrap_or(f64::NAN);
    assert!(
        (found - expected).abs() <= expected.abs() * share,
        "{expression}: {found}, not {expected}"
    );
}

fn point(longitude: f64, latitude: f64) -> String {
    format!("{{type:'Point',coordinates:[{longitude},{latitude}]}}")
}

const SQUARE: &str = "{type:'Polygon',coordinates:[[[10,10],[12,10],[12,12],[10,12],[10,10]]]}";
const REST: &str = "{type:'Polygon',coordinates:[[[10,10],[10,12],[12,12],[12,10],[10,10]]]}";
const HOLED: &str = "{type:'Polygon',coordinates:[[[10,10],[12,10],[12,12],[10,12],[10,10]],[[10.5,10.5],[11.5,10.5],[11.5,11.5],[10.5,11.5],[10.5,10.5]]]}";
const SMALL: &str =
    "{type:'Polygon',coordinates:[[[10.8,10.8],[11.2,10.8],[11.2,11.2],[10.8,11.2],[10.8,10.8]]]}";
const BUT_SMALL: &str =
    "{type:'Polygon',coordinates:[[[10.8,10.8],[10.8,11.2],[11.2,11.2],[11.2,10.8],[10.8,10.8]]]}";
const FAR: &str = "{type:'Polygon',coordinates:[[[20,10],[22,10],[22,12],[20,12],[20,10]]]}";
const BOTH: &str = "{type:'MultiPolygon',coordinates:[[[[10,10],[12,10],[12,12],[10,12],[10,10]]],[[[20,10],[22,10],[22,12],[20,12],[20,10]]]]}";
const ACROSS: &str = "{type:'LineString',coordinates:[[9,11],[13,11]]}";
const CAP: &str = "{type:'Polygon',coordinates:[[[0,80],[90,80],[180,80],[-90,80],[0,80]]]}";

#[test]
fn distances() {
    // WGS 84: one degree of a meridian at the equator, of the equator; half a meridian.
    near(
        &format!("ST_DISTANCE({}, {})", point(0.0, 0.0), point(0.0, 1.0)),
        110_574.39,
        1e-6,
    );
    near(
        &format!("ST_DISTANCE({}, {})", point(0.0, 0.0), point(1.0, 0.0)),
        111_319.49,
        1e-6,
    );
    near(
        &format!("ST_DISTANCE({}, {})", point(0.0, 90.0), point(0.0, -90.0)),
        20_003_931.46,
        1e-6,
    );
    // Nearly opposite places, where the exact formula finds no end.
    near(
        &format!("ST_DISTANCE({}, {})", point(0.0, 0.0), point(179.7, 0.5)),
        19_936_000.0,
        5e-3,
    );
    // Across the date line.
    near(
        &format!("ST_DISTANCE({}, {})", point(179.5, 0.0), point(-179.5, 0.0)),
        111_319.49,
        1e-6,
    );
    // To the nearest border, not to a corner.
    near(
        &format!("ST_DISTANCE({}, {SQUARE})", point(9.0, 11.0)),
        109_289.0,
        1e-3,
    );
    near(&format!("ST_DISTANCE({SQUARE}, {FAR})"), 8.0 * 109_639.0, 2e-2);
    table(&[
        (
            &format!("ST_DISTANCE({}, {})", point(5.0, 5.0), point(5.0, 5.0)),
            "0",
        ),
        (&format!("ST_DISTANCE({}, {SQUARE})", point(11.0, 11.0)), "0"),
        (&format!("ST_DISTANCE({ACROSS}, {SQUARE})"), "0"),
        ("ST_DISTANCE({}, {})", "U"),
        (&format!("ST_DISTANCE(U, {SQUARE})"), "U"),
        (&format!("ST_DISTANCE({}, {SQUARE})", point(200.0, 0.0)), "U"),
    ]);
    // Around a hole.
    near(
        &format!("ST_DISTANCE({}, {HOLED})", point(11.0, 11.0)),
        54_600.0,
        2e-2,
    );
}

#[test]
fn areas() {
    // The example of ST_AREA's page.
    near(
        "ST_AREA({type:'Polygon',coordinates:[[[31.8,-5],[32,-5],[32,-4.7],[31.8,-4.7],[31.8,-5]]]})",
        735_970_283.052_261_4,
        1e-5,
    );
    let whole = 510_065_621_724_089.0;
    let square = value(&format!("ST_AREA({SQUARE})")).unwrap().as_f64().unwrap();
    near(&format!("ST_AREA({REST})"), whole - square, 1e-9);
    near(&format!("ST_AREA({BOTH})"), 2.0 * square, 1e-6);
    near(&format!("ST_AREA({HOLED})"), square * 0.75, 1e-3);
    let cap = value(&format!("ST_AREA({CAP})")).unwrap().as_f64().unwrap();
    assert!(cap < whole / 100.0 && cap > whole / 400.0, "{cap}");
    table(&[
        (&format!("ST_AREA({})", point(1.0, 1.0)), "0"),
        (&format!("ST_AREA({ACROSS})"), "0"),
        ("ST_AREA({type:'Circle'})", "U"),
    ]);
}

#[test]
fn inside_and_touching() {
    let at = |longitude: f64, latitude: f64| point(longitude, latitude);
    let rows: Vec<(String, &str)> = vec![
        (format!("ST_WITHIN({}, {SQUARE})", at(11.0, 11.0)), "true"),
        (format!("ST_WITHIN({}, {SQUARE})", at(13.0, 11.0)), "false"),
        (format!("ST_WITHIN({}, {SQUARE})", at(-169.0, -11.0)), "false"),
        (format!("ST_WITHIN({}, {SQUARE})", at(10.0, 10.0)), "false"),
        (format!("ST_INTERSECTS({}, {SQUARE})", at(10.0, 10.0)), "true"),
        (format!("ST_WITHIN({}, {REST})", at(11.0, 11.0)), "false"),
        (format!("ST_WITHIN({}, {REST})", at(13.0, 11.0)), "true"),
        (format!("ST_WITHIN({}, {REST})", at(-169.0, -11.0)), "true"),
        (format!("ST_WITHIN({}, {HOLED})", at(11.0, 11.0)), "false"),
        (format!("ST_WITHIN({}, {HOLED})", at(10.2, 11.0)), "true"),
        (format!("ST_WITHIN({}, {BOTH})", at(21.0, 11.0)), "true"),
        (format!("ST_WITHIN({}, {CAP})", at(45.0, 89.0)), "true"),
        (format!("ST_WITHIN({}, {CAP})", at(0.0, 90.0)), "true"),
        (format!("ST_WITHIN({}, {CAP})", at(45.0, 60.0)), "false"),
        (format!("ST_WITHIN({SMALL}, {SQUARE})"), "true"),
        (format!("ST_WITHIN({SQUARE}, {SMALL})"), "false"),
        (format!("ST_WITHIN({SQUARE}, {SQUARE})"), "true"),
        (format!("ST_WITHIN({SMALL}, {HOLED})"), "false"),
        (format!("ST_WITHIN({SQUARE}, {HOLED})"), "false"),
        // Written clockwise, the small square is all but itself, of which the square is no part.
        (format!("ST_WITHIN({BUT_SMALL}, {SQUARE})"), "false"),
        (format!("ST_WITHIN({REST}, {BUT_SMALL})"), "true"),
        (format!("ST_WITHIN({BUT_SMALL}, {REST})"), "false"),
        (format!("ST_WITHIN({FAR}, {REST})"), "true"),
        (format!("ST_WITHIN({BOTH}, {BOTH})"), "true"),
        (format!("ST_WITHIN({FAR}, {BOTH})"), "true"),
        (format!("ST_WITHIN({ACROSS}, {SQUARE})"), "false"),
        (
            "ST_WITHIN({type:'LineString',coordinates:[[10.5,11],[11.5,11]]}, ".to_owned() + SQUARE + ")",
            "true",
        ),
        (format!("ST_INTERSECTS({ACROSS}, {SQUARE})"), "true"),
        (format!("ST_INTERSECTS({SMALL}, {SQUARE})"), "true"),
        (format!("ST_INTERSECTS({SQUARE}, {SMALL})"), "true"),
        (format!("ST_INTERSECTS({SMALL}, {HOLED})"), "false"),
        (format!("ST_INTERSECTS({SQUARE}, {FAR})"), "false"),
        (format!("ST_INTERSECTS({FAR}, {BOTH})"), "true"),
        (format!("ST_INTERSECTS({SQUARE}, 1)"), "U"),
    ];
    for (expression, expected) in &rows {
        table(&[(expression, expected)]);
    }
}

#[test]
fn validity() {
    let reason = |geometry: &str| {
        let found = value(&format!("ST_ISVALIDDETAILED({geometry})")).unwrap();
        assert_eq!(found["valid"], false, "{geometry}");
        assert_eq!(
            value(&format!("ST_ISVALID({geometry})")),
            Some(Value::Bool(false))
        );
        found["reason"].as_str().unwrap().to_owned()
    };
    // The examples of ST_ISVALID's and ST_ISVALIDDETAILED's pages.
    assert!(reason("{type:'Point',coordinates:[31.9,-132.8]}").contains("Latitude"));
    assert!(
        reason("{type:'Polygon',coordinates:[[[31.8,-5],[31.8,-4.7],[32,-4.7],[32,-5]]]}")
            .contains("start and end points of the ring number 1 are not the same")
    );
    for (geometry, word) in [
        ("{type:'Point',coordinates:[181,0]}", "Longitude"),
        ("{type:'Point',coordinates:[1]}", "position"),
        ("{type:'Point',coordinates:['a',1]}", "position"),
        ("{type:'LineString',coordinates:[[1,1]]}", "at least 2"),
        ("{type:'Polygon',coordinates:[[[1,1],[2,2],[1,1]]]}", "at least 4"),
        (
            "{type:'Polygon',coordinates:[[[0,0],[2,2],[2,0],[0,2],[0,0]]]}",
            "crosses",
        ),
        ("{type:'Polygon',coordinates:[]}", "at least one"),
        ("{type:'Circle',coordinates:[]}", "type"),
        ("{}", "coordinates"),
        ("1", "coordinates"),
    ] {
        assert!(
            reason(geometry).contains(word),
            "{geometry}: {}",
            reason(geometry)
        );
    }
    for good in [
        SQUARE,
        REST,
        HOLED,
        BOTH,
        ACROSS,
        CAP,
        "{type:'Point',coordinates:[1,1,100]}",
    ] {
        assert_eq!(
            value(&format!("ST_ISVALID({good})")),
            Some(Value::Bool(true)),
            "{good}"
        );
    }
    table(&[
        ("ST_ISVALID(U)", "U"),
        (&format!("ST_ISVALIDDETAILED({SQUARE})"), r#"{"valid":true}"#),
    ]);
}

/// A comb: every tooth's edges pass every latitude of all the others.
fn comb(places: u32) -> Value {
    let tooth = |place: u32| json!([f64::from(place) / 1_000.0, f64::from(place % 2)]);
    let mut ring: Vec<Value> = (0..places).map(tooth).collect();
    // Back below the teeth; the outer ring goes against the clock.
    ring.extend([
        json!([f64::from(places) / 1_000.0, -1.0]),
        json!([0.0, -1.0]),
        tooth(0),
    ]);
    ring.reverse();
    json!({"type": "Polygon", "coordinates": [ring]})
}

#[test]
fn a_ring_that_would_take_too_long_to_check_is_not_valid() {
    let detailed = |places| {
        let compiled = compile(
            "SELECT VALUE ST_ISVALIDDETAILED(@g)",
            &json!({"@g": comb(places)}),
        )
        .unwrap();
        execute(&compiled, &[json!({})], OrderMode::Sort)
            .unwrap()
            .remove(0)
    };
    assert_eq!(detailed(60), json!({"valid": true}));
    let refused = detailed(1_000);
    assert_eq!(refused["valid"], false);
    assert!(
        refused["reason"]
            .as_str()
            .unwrap()
            .contains("more than 250000 pairs"),
        "{refused}"
    );
}

#[test]
fn spatial_functions_of_one_document_have_so_much_work() {
    let places: Vec<Value> = (0..500)
        .map(|place| json!([f64::from(place) / 100.0, 0]))
        .collect();
    let parameters = json!({
        "@line": {"type": "LineString", "coordinates": places},
        "@comb": comb(1_000),
    });
    // 250,000 pairs each: the line's with itself, the comb's own.
    let lines = vec!["ST_INTERSECTS(c.line, c.line)"; 19].join(" AND ");
    let constant_lines = lines.replace("c.line", "@line");
    let document = json!({"line": parameters["@line"], "comb": parameters["@comb"]});
    let run = |filter: &str| {
        let compiled = compile(&format!("SELECT VALUE 1 FROM c WHERE {filter}"), &parameters).unwrap();
        execute(&compiled, &[document.clone(), document.clone()], OrderMode::Sort)
    };
    let too_much = |outcome| matches!(outcome, Err(ExecError::TooMuchWork { .. }));
    assert_eq!(run(&lines).unwrap().len(), 2, "each document has its own");
    assert!(too_much(run(&format!("{lines} AND NOT ST_ISVALID(c.comb)"))));
    // Folded, while that isn't too much; both together are, and so the rest waits for a document.
    assert_eq!(run(&format!("{constant_lines} AND {lines}")).unwrap().len(), 2);
    assert_eq!(
        run(&format!("{constant_lines} AND NOT ST_ISVALID(@comb)"))
            .unwrap()
            .len(),
        2
    );
    let again = format!("{constant_lines} AND {constant_lines} AND NOT ST_ISVALID(@comb)");
    assert!(too_much(run(&format!("{again} AND {constant_lines}"))));
}
