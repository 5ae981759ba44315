//! Geometry on the earth: arcs of great circles as vectors, and the WGS 84 ellipsoid for what is
//! measured in metres.
//!
//! Which side of an edge a point lies on, and where two edges come nearest, is decided on the
//! sphere; the found pair of points is then measured on the ellipsoid, and areas on the sphere of
//! equal area. So lengths and areas are the ellipsoid's to about a hundredth of a per cent.

use std::f64::consts::{PI, TAU};

/// WGS 84: half the longer axis, metres.
const EQUATOR_RADIUS_METRES: f64 = 6_378_137.0;
/// WGS 84.
const FLATTENING: f64 = 1.0 / 298.257_223_563;
const ECCENTRICITY_SQUARED: f64 = FLATTENING * (2.0 - FLATTENING);
/// Points nearer than this (radians; about half a millimetre) are one.
const TOUCH_RADIANS: f64 = 1e-10;
const VINCENTY_STEPS_MAX: usize = 100;

/// A place on the earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// Radians.
    pub(super) longitude: f64,
    /// Radians.
    pub(super) latitude: f64,
    pub(super) at: Vector,
}

/// A vector in space; of a place, one of length 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vector {
    x: f64,
    y: f64,
    z: f64,
}

impl Vector {
    fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    fn cross(self, other: Self) -> Self {
        Self {
            x: self.y * other.z - self.z * other.y,
            y: self.z * other.x - self.x * other.z,
            z: self.x * other.y - self.y * other.x,
        }
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            x: self.x * factor,
            y: self.y * factor,
            z: self.z * factor,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            x: self.x - other.x,
            y: self.y - other.y,
            z: self.z - other.z,
        }
    }

    fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The angle between two vectors, exact also where it is small.
    fn angle(self, other: Self) -> f64 {
        self.cross(other).length().atan2(self.dot(other))
    }

    fn to_place(self) -> Place {
        let flat = self.x.hypot(self.y);
        Place {
            longitude: self.y.atan2(self.x),
            latitude: self.z.atan2(flat),
            at: self,
        }
    }
}

impl Place {
    /// From degrees.
    pub(super) fn new(longitude: f64, latitude: f64) -> Self {
        let (longitude, latitude) = (longitude.to_radians(), latitude.to_radians());
        Self {
            longitude,
            latitude,
            at: Vector {
                x: latitude.cos() * longitude.cos(),
                y: latitude.cos() * longitude.sin(),
                z: latitude.sin(),
            },
        }
    }

    /// Half way between two places.
    pub(super) fn middle(a: Self, b: Self) -> Self {
        let sum = a.at.minus(b.at.scaled(-1.0));
        let length = sum.length();
        // Between opposite places every way is a shortest one.
        if length > 0.0 {
            sum.scaled(1.0 / length).to_place()
        } else {
            a
        }
    }

    pub(super) fn touches(self, other: Self) -> bool {
        self.at.angle(other.at) <= TOUCH_RADIANS
    }
}

/// The shortest way between two places; a single place if both are one.
pub(super) type Edge = (Place, Place);

/// The place on an edge that is nearest to a place.
fn nearest(edge: Edge, to: Place) -> Place {
    let (a, b) = edge;
    let normal = a.at.cross(b.at);
    let square = normal.dot(normal);
    if square > TOUCH_RADIANS * TOUCH_RADIANS {
        let foot = to.at.minus(normal.scaled(to.at.dot(normal) / square));
        let length = foot.length();
        if length > 0.0 {
            let foot = foot.scaled(1.0 / length);
            if a.at.cross(foot).dot(normal) >= 0.0 && foot.cross(b.at).dot(normal) >= 0.0 {
                return foot.to_place();
            }
        }
    }
    if a.at.dot(to.at) >= b.at.dot(to.at) { a } else { b }
}

/// Whether a place lies on an edge.
pub(super) fn on_edge(edge: Edge, place: Place) -> bool {
    nearest(edge, place).touches(place)
}

/// Whether two edges cross between their ends. An end that lies on the other edge is no crossing.
pub(super) fn cross(first: Edge, second: Edge) -> bool {
    let ((a, b), (c, d)) = (first, second);
    let ab = a.at.cross(b.at);
    let cd = c.at.cross(d.at);
    let sides = [
        (-ab.dot(c.at), ab),
        (ab.dot(d.at), ab),
        (-cd.dot(b.at), cd),
        (cd.dot(a.at), cd),
    ];
    // How far each end is from the other edge's circle, and on which side.
    let off = |(side, normal): (f64, Vector)| side > TOUCH_RADIANS * normal.length();
    let turned = |(side, normal): (f64, Vector)| off((-side, normal));
    sides.into_iter().all(off) || sides.into_iter().all(turned)
}

/// Whether two edges have a place in common.
pub(super) fn meet(first: Edge, second: Edge) -> bool {
    cross(first, second)
        || on_edge(first, second.0)
        || on_edge(first, second.1)
        || on_edge(second, first.0)
        || on_edge(second, first.1)
}

/// The pair of places at which two edges that don't meet come nearest, and how far that is in
/// radians.
pub(super) fn nearest_pair(first: Edge, second: Edge) -> (f64, Edge) {
    let candidates = [
        (first.0, nearest(second, first.0)),
        (first.1, nearest(second, first.1)),
        (nearest(first, second.0), second.0),
        (nearest(first, second.1), second.1),
    ];
    candidates
        .into_iter()
        .map(|pair| (pair.0.at.angle(pair.1.at), pair))
        .fold(
            (f64::INFINITY, first),
            |best, next| {
                if next.0 < best.0 { next } else { best }
            },
        )
}

/// How often (in full turns, rounded) a ring goes around a place, seen from outside the earth;
/// 0 also if it separates neither the place nor its opposite from the other.
pub(super) fn turns(ring: &[Edge], around: Place) -> i32 {
    // East and north at the place.
    let east = Vector {
        x: -around.longitude.sin(),
        y: around.longitude.cos(),
        z: 0.0,
    };
    let north = around.at.cross(east);
    let direction = |place: &Place| place.at.dot(north).atan2(place.at.dot(east));
    let angle: f64 = ring
        .iter()
        .map(|(a, b)| wrapped(direction(b) - direction(a)))
        .sum();
    let turns = angle / TAU;
    if turns > 0.5 {
        1
    } else if turns < -0.5 {
        -1
    } else {
        0
    }
}

/// An angle brought between -180 and 180 degrees.
fn wrapped(angle: f64) -> f64 {
    if angle > PI {
        angle - TAU
    } else if angle <= -PI {
        angle + TAU
    } else {
        angle
    }
}

/// The part of the sphere on the left of a ring, from 0 to 1. With `authalic`, latitudes are
/// those of the sphere that has the ellipsoid's area.
pub(super) fn share_on_the_left(ring: &[Edge], authalic: bool) -> f64 {
    let latitude = |place: &Place| {
        if authalic {
            authalic_latitude(place.latitude)
        } else {
            place.latitude
        }
    };
    let (mut area, mut around) = (0.0, 0.0);
    for (a, b) in ring {
        let step = wrapped(b.longitude - a.longitude);
        let (low, high) = ((latitude(a) / 2.0).tan(), (latitude(b) / 2.0).tan());
        // Between the edge and the equator.
        area += 2.0 * ((step / 2.0).tan() * (low + high)).atan2(1.0 + low * high);
        around += step;
    }
    let mut left = -area;
    if around.abs() > PI {
        left += TAU; // around a pole
    }
    left.rem_euclid(2.0 * TAU) / (2.0 * TAU)
}

/// The area of the ellipsoid, square metres.
pub(super) fn earth_square_metres() -> f64 {
    2.0 * PI * EQUATOR_RADIUS_METRES * EQUATOR_RADIUS_METRES * authalic_q(1.0)
}

fn authalic_q(sine: f64) -> f64 {
    let eccentricity = ECCENTRICITY_SQUARED.sqrt();
    let es = eccentricity * sine;
    (1.0 - ECCENTRICITY_SQUARED)
        * (sine / (1.0 - es * es) - ((1.0 - es) / (1.0 + es)).ln() / (2.0 * eccentricity))
}

fn authalic_latitude(latitude: f64) -> f64 {
    (authalic_q(latitude.sin()) / authalic_q(1.0))
        .clamp(-1.0, 1.0)
        .asin()
}

/// The distance between two places on the ellipsoid, metres (Vincenty's inverse formula; near
/// the opposite side of the earth, where that finds no end, the sphere's).
pub(super) fn metres((a, b): Edge) -> f64 {
    let polar = EQUATOR_RADIUS_METRES * (1.0 - FLATTENING);
    let reduced = |latitude: f64| ((1.0 - FLATTENING) * latitude.tan()).atan();
    let (sin_u1, cos_u1) = reduced(a.latitude).sin_cos();
    let (sin_u2, cos_u2) = reduced(b.latitude).sin_cos();
    let apart = b.longitude - a.longitude;
    let mut lambda = apart;
    for _ in 0..VINCENTY_STEPS_MAX {
        let (sin_lambda, cos_lambda) = lambda.sin_cos();
        let sin_sigma = (cos_u2 * sin_lambda).hypot(cos_u1 * sin_u2 - sin_u1 * cos_u2 * cos_lambda);
        if sin_sigma == 0.0 {
            return 0.0;
        }
        let cos_sigma = sin_u1 * sin_u2 + cos_u1 * cos_u2 * cos_lambda;
        let sigma = sin_sigma.atan2(cos_sigma);
        let sin_alpha = cos_u1 * cos_u2 * sin_lambda / sin_sigma;
        let cos2_alpha = 1.0 - sin_alpha * sin_alpha;
        let middle = if cos2_alpha == 0.0 {
            0.0 // along the equator
        } else {
            cos_sigma - 2.0 * sin_u1 * sin_u2 / cos2_alpha
        };
        let c = FLATTENING / 16.0 * cos2_alpha * (4.0 + FLATTENING * (4.0 - 3.0 * cos2_alpha));
        let before = lambda;
        lambda = apart
            + (1.0 - c)
                * FLATTENING
                * sin_alpha
                * (sigma + c * sin_sigma * (middle + c * cos_sigma * (2.0 * middle * middle - 1.0)));
        if (lambda - before).abs() < 1e-12 {
            let u2 = cos2_alpha * (EQUATOR_RADIUS_METRES * EQUATOR_RADIUS_METRES - polar * polar)
                / (polar * polar);
            let big_a = 1.0 + u2 / 16_384.0 * (4_096.0 + u2 * (-768.0 + u2 * (320.0 - 175.0 * u2)));
            let big_b = u2 / 1_024.0 * (256.0 + u2 * (-128.0 + u2 * (74.0 - 47.0 * u2)));
            let square = middle * middle;
            let delta = big_b
                * sin_sigma
                * (middle
                    + big_b / 4.0
                        * (cos_sigma * (2.0 * square - 1.0)
                            - big_b / 6.0
                                * middle
                                * (4.0 * sin_sigma * sin_sigma - 3.0)
                                * (4.0 * square - 3.0)));
            return polar * big_a * (sigma - delta);
        }
    }
    a.at.angle(b.at) * (2.0 * EQUATOR_RADIUS_METRES + polar) / 3.0
}
