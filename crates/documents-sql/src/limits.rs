//! Every bound of the query engine by name, unit last, with its source beside it.
//!
//! Invariant: no query text, parameter or document can make the engine recurse, allocate or run
//! without meeting one of these. What the service documents is taken over; the rest is ours.

/// Query text (service limits page: 512 KB).
pub const QUERY_TEXT_BYTES_MAX: usize = 512 * 1024;

/// Nested parentheses, calls, arrays and objects that a query may have. Ours: the service gives
/// no number; recursion of the parser, compiler and evaluator is proportional to it.
pub const NESTING_DEPTH_MAX: usize = 128;

/// Depth units behind [`NESTING_DEPTH_MAX`]: one nested level costs at most two (the bracket
/// itself and the operand it stands in).
pub(crate) const NESTING_UNITS_MAX: usize = 2 * NESTING_DEPTH_MAX;

/// Depth units that one subquery costs: its clauses recurse through more frames than a bracket.
pub(crate) const SUBQUERY_UNITS: usize = 6;

/// JOIN clauses of one query (service limits page: 10 per query).
pub const JOINS_PER_QUERY_MAX: usize = 10;

/// User-defined functions that one query calls, counted at each mention (published query engine
/// configuration: maxUdfRefPerSqlQuery; service limits page: 10 per query).
pub const FUNCTION_MENTIONS_MAX: usize = 10;

/// Arguments of one call of a user-defined function (ours; whoever calls takes them in one message).
pub const FUNCTION_ARGUMENTS_MAX: usize = 4_096;

/// TOP, OFFSET and LIMIT (the service keeps them in a signed 32-bit integer).
pub const ROW_COUNT_MAX: u64 = 2_147_483_647;

/// Items of one IN list (published query engine configuration: maxInExpressionItemsCount).
pub const IN_LIST_ITEMS_MAX: usize = 16_000;

/// UTF-16 units of what REPLICATE gives (documented for the function; a longer one is undefined).
pub(crate) const REPLICATE_UNITS_MAX: usize = 10_000;

/// Size of one value made while evaluating (ours). Above it the query fails rather than
/// exhaust memory by doubling: `(SELECT VALUE [c,c] FROM (SELECT VALUE [c,c] ...))`.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Constants of one compiled query: each mention of a parameter and each folded expression, as
/// they are estimated (ours).
pub(crate) const CONSTANT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows visited for one pushed document, its joins and subqueries together (ours). Ten joins
/// over arrays of a hundred would be 10^20.
pub const ROWS_PER_DOCUMENT_MAX: u64 = 4_000_000;

/// Work of functions for one pushed document, and for all constants that are folded (ours), about
/// half a second. A unit is a pair of edges compared, or `TEXT_BYTES_PER_WORK` bytes or
/// `ITEMS_PER_WORK` items looked through.
pub const WORK_PER_DOCUMENT_MAX: u64 = 5_000_000;

/// Bytes of text that a function goes through in the time of one unit of work.
pub(crate) const TEXT_BYTES_PER_WORK: usize = 64;

/// Items of an array or object that a function goes through in the time of one unit of work.
pub(crate) const ITEMS_PER_WORK: usize = 8;

/// Units of work that compiling a regular expression costs: about half a millisecond.
pub(crate) const REGEX_WORK: usize = 5_000;

/// Compiled regular expressions kept by one execution; patterns may come from documents.
pub(crate) const REGEXES_CACHED_MAX: usize = 32;

/// Memory of one compiled regular expression; a larger pattern is undefined.
pub(crate) const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Text length of a pattern for REGEXMATCH and LIKE (ours).
pub(crate) const PATTERN_BYTES_MAX: usize = 16 * 1024;

/// Points of one geometry (documented for spatial functions).
pub(crate) const GEOMETRY_POINTS_MAX: usize = 4_096;

/// Pairs of edges that a spatial function compares (ours): tens of milliseconds. Two geometries
/// with more are undefined to it; a geometry whose own rings need more is not valid.
pub(crate) const GEOMETRY_EDGE_PAIRS_MAX: usize = 250_000;

/// Numbers of one vector (documented for vector indexes: 4,096).
pub(crate) const VECTOR_NUMBERS_MAX: usize = 4_096;

/// Search terms of one full-text function (ours).
pub(crate) const FULL_TEXT_TERMS_MAX: usize = 30;

/// Words of one search term (ours).
pub(crate) const FULL_TEXT_TERM_WORDS_MAX: usize = 100;

/// Words that are compared in the time of one unit of work.
pub(crate) const WORDS_PER_WORK: usize = 16;

/// Rankings that one RRF fuses (ours).
pub(crate) const RANKINGS_FUSED_MAX: usize = 16;
