//! Places, lines and areas on the earth, written as GeoJSON.
//!
//! A polygon is what lies to the left of its outer ring, so one written clockwise is the rest of
//! the earth. A border belongs to its area for ST_INTERSECTS; ST_WITHIN wants more than border.

mod geometry;
mod sphere;

use serde_json::{Value, json};

use self::geometry::{Geometry, Polygon};
use self::sphere::{Edge, Place};
use super::{Args, FunctionSpec, strict};
use crate::limits::GEOMETRY_EDGE_PAIRS_MAX;
use crate::number::Num;

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("ST_DISTANCE", 2, 2, |args| {
        let (a, b) = (geometry(args, 0)?, geometry(args, 1)?);
        Num::Float(distance(&a, &b)?).to_value()
    }),
    strict("ST_AREA", 1, 1, |args| {
        Num::Float(area(&geometry(args, 0)?)).to_value()
    }),
    strict("ST_WITHIN", 2, 2, |args| {
        within(&geometry(args, 0)?, &geometry(args, 1)?).map(Value::Bool)
    }),
    strict("ST_INTERSECTS", 2, 2, |args| {
        intersects(&geometry(args, 0)?, &geometry(args, 1)?).map(Value::Bool)
    }),
    strict("ST_ISVALID", 1, 1, |args| {
        Some(Value::Bool(read(args, 0)?.is_ok()))
    }),
    strict("ST_ISVALIDDETAILED", 1, 1, |args| {
        Some(match read(args, 0)? {
            Ok(_) => json!({"valid": true}),
            Err(reason) => json!({"valid": false, "reason": reason}),
        })
    }),
];

/// A geometry, or why it isn't one.
fn read(args: &Args<'_>, index: usize) -> Option<Result<Geometry, String>> {
    let (read, work) = Geometry::read(args.value(index)?);
    args.runtime.work(work).map(|()| read)
}

/// A valid geometry. With a second one comes the work of comparing it with the first.
fn geometry(args: &Args<'_>, index: usize) -> Option<Geometry> {
    let geometry = read(args, index)?.ok()?;
    if index > 0 {
        let places = |at| args.value(at)?.get("coordinates").map(places);
        let pairs = places(0)?.saturating_mul(places(index)?);
        args.runtime.work(pairs.min(GEOMETRY_EDGE_PAIRS_MAX))?;
    }
    Some(geometry)
}

/// How many places there are among coordinates that were read.
fn places(coordinates: &Value) -> usize {
    match coordinates {
        Value::Array(inner) if inner.iter().any(Value::is_array) => inner.iter().map(places).sum(),
        _ => 1,
    }
}

/// Square metres.
fn area(geometry: &Geometry) -> f64 {
    let Geometry::Area(polygons) = geometry else {
        return 0.0;
    };
    let share: f64 = polygons
        .iter()
        .map(|polygon| {
            let holes: f64 = polygon
                .holes
                .iter()
                .map(|hole| {
                    let left = sphere::share_on_the_left(hole, true);
                    left.min(1.0 - left)
                })
                .sum();
            (sphere::share_on_the_left(&polygon.outer, true) - holes).max(0.0)
        })
        .sum();
    share * sphere::earth_square_metres()
}

/// Where a place is, seen from a ring or polygon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Inside,
    Border,
    Outside,
}

/// Of the area to the left of a ring.
fn side_of_ring(ring: &[Edge], place: Place) -> Side {
    if ring.iter().any(|edge| sphere::on_edge(*edge, place)) {
        return Side::Border;
    }
    let inside = match sphere::turns(ring, place) {
        1 => true,
        -1 => false,
        // The place and its opposite are on one side of the ring: on the larger one.
        _ => sphere::share_on_the_left(ring, false) > 0.5,
    };
    if inside { Side::Inside } else { Side::Outside }
}

/// Holes are the smaller side of their ring, whichever way round it is written.
fn side_of_hole(ring: &[Edge], place: Place) -> Side {
    let side = side_of_ring(ring, place);
    let reversed = sphere::share_on_the_left(ring, false) > 0.5;
    match (side, reversed) {
        (Side::Inside, true) => Side::Outside,
        (Side::Outside, true) => Side::Inside,
        (side, _) => side,
    }
}

fn side_of_polygon(polygon: &Polygon, place: Place) -> Side {
    match side_of_ring(&polygon.outer, place) {
        Side::Inside => {}
        other => return other,
    }
    for hole in &polygon.holes {
        match side_of_hole(hole, place) {
            Side::Inside => return Side::Outside,
            Side::Border => return Side::Border,
            Side::Outside => {}
        }
    }
    Side::Inside
}

/// Of the whole geometry; places are inside of points and lines that they are on.
fn side_of(geometry: &Geometry, place: Place) -> Side {
    let on = |found: bool| if found { Side::Inside } else { Side::Outside };
    match geometry {
        Geometry::Point(point) => on(point.touches(place)),
        Geometry::Line(edges) => on(edges.iter().any(|edge| sphere::on_edge(*edge, place))),
        Geometry::Area(polygons) => {
            let mut side = Side::Outside;
            for polygon in polygons {
                match side_of_polygon(polygon, place) {
                    Side::Inside => return Side::Inside,
                    Side::Border => side = Side::Border,
                    Side::Outside => {}
                }
            }
            side
        }
    }
}

/// All edges of both; `None` if comparing each with each would take too long.
fn comparable(a: &Geometry, b: &Geometry) -> Option<(Vec<Edge>, Vec<Edge>)> {
    let (a, b) = (a.edges(), b.edges());
    (a.len().saturating_mul(b.len()) <= GEOMETRY_EDGE_PAIRS_MAX).then_some((a, b))
}

fn intersects(a: &Geometry, b: &Geometry) -> Option<bool> {
    let (a_edges, b_edges) = comparable(a, b)?;
    let touches = |geometry: &Geometry, edges: &[Edge]| {
        edges
            .iter()
            .any(|(start, _)| side_of(geometry, *start) != Side::Outside)
    };
    // One place of a part that meets no border decides for the whole part; there are few enough
    // to ask all.
    Some(
        a_edges
            .iter()
            .any(|a| b_edges.iter().any(|b| sphere::meet(*a, *b)))
            || touches(a, &b_edges)
            || touches(b, &a_edges),
    )
}

/// Every place of `a` is in `b`, and not all of them on its border.
fn within(a: &Geometry, b: &Geometry) -> Option<bool> {
    let (a_edges, b_edges) = comparable(a, b)?;
    let mut inside = false;
    for (start, end) in &a_edges {
        let middle = Place::middle(*start, *end);
        for place in [*start, middle, *end] {
            match side_of(b, place) {
                Side::Outside => return Some(false),
                Side::Inside => inside = true,
                Side::Border => {}
            }
        }
    }
    let crossed = a_edges
        .iter()
        .any(|a| b_edges.iter().any(|b| sphere::cross(*a, *b)));
    if crossed {
        return Some(false);
    }
    if let Geometry::Area(_) = a {
        // Equal areas have all borders in common; and a hole of `b` may lie within `a`, or all of
        // `b` if `a` is the rest of the earth.
        let Geometry::Area(polygons) = b else {
            return Some(false);
        };
        let uncovered = polygons
            .iter()
            .flat_map(Polygon::rings)
            .flatten()
            .any(|(start, end)| side_of(a, Place::middle(*start, *end)) == Side::Inside);
        return Some(!uncovered);
    }
    Some(inside)
}

/// Metres; 0 where they meet.
fn distance(a: &Geometry, b: &Geometry) -> Option<f64> {
    if intersects(a, b)? {
        return Some(0.0);
    }
    let (a_edges, b_edges) = comparable(a, b)?;
    let mut best: Option<(f64, Edge)> = None;
    for a in &a_edges {
        for b in &b_edges {
            let found = sphere::nearest_pair(*a, *b);
            if best.is_none_or(|best| found.0 < best.0) {
                best = Some(found);
            }
        }
    }
    best.map(|(_, pair)| sphere::metres(pair))
}
