//! GeoJSON geometries: read and checked.

use serde_json::Value;

use super::sphere::{Edge, Place, cross, on_edge};
use crate::limits::{GEOMETRY_EDGE_PAIRS_MAX, GEOMETRY_POINTS_MAX};

/// A geometry that is valid.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Geometry {
    Point(Place),
    Line(Vec<Edge>),
    /// One polygon or several.
    Area(Vec<Polygon>),
}

/// A polygon: what lies to the left of the outer ring, without the holes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Polygon {
    pub(super) outer: Vec<Edge>,
    pub(super) holes: Vec<Vec<Edge>>,
}

impl Polygon {
    pub(super) fn rings(&self) -> impl Iterator<Item = &Vec<Edge>> {
        std::iter::once(&self.outer).chain(&self.holes)
    }
}

/// What reading a geometry may still take.
struct Left {
    points: usize,
    /// Pairs of edges to compare.
    pairs: usize,
}

impl Geometry {
    /// Reads a geometry, and says how many points and pairs of edges were looked at.
    ///
    /// # Errors
    /// Why it isn't one, for people.
    pub(super) fn read(value: &Value) -> (Result<Self, String>, usize) {
        let mut left = Left {
            points: GEOMETRY_POINTS_MAX,
            pairs: GEOMETRY_EDGE_PAIRS_MAX,
        };
        let read = Self::read_within(value, &mut left);
        let work = (GEOMETRY_POINTS_MAX - left.points) + (GEOMETRY_EDGE_PAIRS_MAX - left.pairs);
        (read, work)
    }

    fn read_within(value: &Value, left: &mut Left) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        let coordinates = value
            .get("coordinates")
            .and_then(Value::as_array)
            .ok_or("A geometry must have an array of coordinates.")?;
        match kind {
            "Point" => place(coordinates).map(Self::Point),
            "LineString" => {
                let places = places(coordinates, left)?;
                if places.len() < 2 {
                    return Err(
                        "The LineString input is not valid because it must have at least 2 points."
                            .to_owned(),
                    );
                }
                Ok(Self::Line(edges(&places)))
            }
            "Polygon" => Ok(Self::Area(vec![polygon(coordinates, left)?])),
            "MultiPolygon" => {
                let polygons = coordinates.iter().map(|rings| {
                    let rings = rings
                        .as_array()
                        .ok_or("Each polygon of a MultiPolygon must be an array of rings.")?;
                    polygon(rings, left)
                });
                let polygons = polygons.collect::<Result<Vec<_>, String>>()?;
                if polygons.is_empty() {
                    return Err("A MultiPolygon must have at least one polygon.".to_owned());
                }
                Ok(Self::Area(polygons))
            }
            _ => Err("The type of a geometry must be Point, LineString, Polygon or MultiPolygon.".to_owned()),
        }
    }

    /// The edges of lines and rings; of a point, the point.
    pub(super) fn edges(&self) -> Vec<Edge> {
        match self {
            Self::Point(place) => vec![(*place, *place)],
            Self::Line(edges) => edges.clone(),
            Self::Area(polygons) => polygons
                .iter()
                .flat_map(Polygon::rings)
                .flatten()
                .copied()
                .collect(),
        }
    }
}

fn place(position: &[Value]) -> Result<Place, String> {
    let mut numbers = position.iter().map(Value::as_f64);
    let (Some(Some(longitude)), Some(Some(latitude))) = (numbers.next(), numbers.next()) else {
        return Err("A position must have at least two numbers, longitude and latitude.".to_owned());
    };
    if numbers.any(|number| number.is_none()) {
        return Err("A position must have numbers only.".to_owned());
    }
    if !(-90.0..=90.0).contains(&latitude) {
        return Err("Latitude values must be between -90 and 90 degrees.".to_owned());
    }
    if !(-180.0..=180.0).contains(&longitude) {
        return Err("Longitude values must be between -180 and 180 degrees.".to_owned());
    }
    Ok(Place::new(longitude, latitude))
}

fn places(positions: &[Value], left: &mut Left) -> Result<Vec<Place>, String> {
    left.points = left
        .points
        .checked_sub(positions.len())
        .ok_or_else(|| format!("A geometry must not have more than {GEOMETRY_POINTS_MAX} points."))?;
    positions
        .iter()
        .map(|position| {
            place(
                position
                    .as_array()
                    .ok_or("A position must be an array of numbers.")?,
            )
        })
        .collect()
}

fn edges(places: &[Place]) -> Vec<Edge> {
    places
        .iter()
        .zip(places.iter().skip(1))
        .map(|(a, b)| (*a, *b))
        .collect()
}

fn polygon(rings: &[Value], left: &mut Left) -> Result<Polygon, String> {
    let mut read = Vec::with_capacity(rings.len());
    for (index, positions) in rings.iter().enumerate() {
        let positions = positions
            .as_array()
            .ok_or("Each ring of a Polygon must be an array of positions.")?;
        read.push(ring(positions, index + 1, left)?);
    }
    let mut read = read.into_iter();
    Ok(Polygon {
        outer: read.next().ok_or("A Polygon must have at least one ring.")?,
        holes: read.collect(),
    })
}

fn ring(positions: &[Value], number: usize, left: &mut Left) -> Result<Vec<Edge>, String> {
    let places = places(positions, left)?;
    if places.first() != places.last() {
        return Err(format!(
            "The Polygon input is not valid because the start and end points of the ring number {number} are not the same. Each ring of a Polygon must have the same start and end points."
        ));
    }
    if places.len() < 4 {
        return Err(format!(
            "The Polygon input is not valid because the ring number {number} does not have enough points. Each ring of a Polygon must have at least 4 points."
        ));
    }
    let edges: Vec<Edge> = edges(&places).into_iter().filter(|(a, b)| a != b).collect();
    match crosses_itself(&edges, &mut left.pairs) {
        Some(false) => Ok(edges),
        Some(true) => Err(format!(
            "The Polygon input is not valid because the ring number {number} crosses or touches itself."
        )),
        None => Err(format!(
            "The Polygon input is not valid because more than {GEOMETRY_EDGE_PAIRS_MAX} pairs of edges would have to be compared to see whether the ring number {number} crosses itself. Leave points away."
        )),
    }
}

/// Whether edges of a ring meet other than where one ends and the next begins. Edges are compared
/// only where their bands of latitude overlap; `None` if these are too many pairs.
fn crosses_itself(ring: &[Edge], pairs_left: &mut usize) -> Option<bool> {
    let mut bands: Vec<(f64, f64, usize, Edge)> = ring
        .iter()
        .enumerate()
        .map(|(index, edge)| {
            let (low, high) = band(*edge);
            (low, high, index, *edge)
        })
        .collect();
    bands.sort_by(|a, b| a.0.total_cmp(&b.0));
    let last = ring.len().saturating_sub(1);
    for (at, (_, high, index, edge)) in bands.iter().enumerate() {
        for (low, _, other_index, other) in bands.iter().skip(at + 1) {
            if low > high {
                break;
            }
            *pairs_left = pairs_left.checked_sub(1)?;
            let apart = index.abs_diff(*other_index);
            let touching = if apart == 1 || (apart == last && last > 1) {
                // Neighbours share one end; they may not fold back over each other.
                cross(*edge, *other)
                    || (ring.len() > 2
                        && [other.0, other.1]
                            .into_iter()
                            .any(|end| end != edge.0 && end != edge.1 && on_edge(*edge, end)))
            } else {
                super::sphere::meet(*edge, *other)
            };
            if touching {
                return Some(true);
            }
        }
    }
    Some(false)
}

/// The latitudes between which an edge lies, generously: an arc bulges towards the pole by at
/// most what the chord's middle is off.
fn band((a, b): Edge) -> (f64, f64) {
    let (low, high) = (a.latitude.min(b.latitude), a.latitude.max(b.latitude));
    let half = (b.longitude - a.longitude).abs() / 2.0;
    // An arc over more than a quarter of the way around may pass near a pole.
    if half > std::f64::consts::FRAC_PI_4 {
        return (-std::f64::consts::FRAC_PI_2, std::f64::consts::FRAC_PI_2);
    }
    let bulge = |latitude: f64| (latitude.tan() / half.cos()).atan();
    (low.min(bulge(low)), high.max(bulge(high)))
}
