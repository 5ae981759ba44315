//! Evaluates expressions.
//!
//! Undefined is a value that spreads: `Option::None`, so `?` says it. Documents are borrowed;
//! only what an expression makes is owned. Only limits are errors: a wrong type is undefined.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::ast::BinaryOp;
use crate::compiled::{EvalContext, Functions};
use crate::error::ExecError;
use crate::functions::regex::RegexCache;
use crate::functions::{Args, FunctionSpec, like::LikePattern};
use crate::limits::{
    ITEMS_PER_WORK, ROWS_PER_DOCUMENT_MAX, TEXT_BYTES_PER_WORK, VALUE_BYTES_MAX, WORK_PER_DOCUMENT_MAX,
};
use crate::number::Num;
use crate::program::{Node, NodeStep, PatternNode};
use crate::rows;
use crate::value::{Datum, compare_values, deep_equal, same_type, value_bytes};

type Evaluated<'a> = Result<Datum<'a>, ExecError>;

/// The frames an expression sees; see [`crate::program`].
pub(crate) struct Env<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) outer: Option<&'a Env<'a>>,
}

/// One frame.
pub(crate) enum Frame<'a> {
    Value(Cow<'a, Value>),
    Group {
        keys: &'a [Option<Value>],
        aggregates: &'a [Option<Value>],
    },
}

impl<'a> Env<'a> {
    /// The frame of the document itself.
    pub(crate) fn root(document: &'a Value) -> Self {
        Self {
            frame: Frame::Value(Cow::Borrowed(document)),
            outer: None,
        }
    }

    fn out(&'a self, level: usize) -> Option<&'a Frame<'a>> {
        let mut env = self;
        for _ in 0..level {
            env = env.outer?;
        }
        Some(&env.frame)
    }
}

/// What one execution shares between all its evaluations.
pub(crate) struct Runtime {
    pub(crate) context: EvalContext,
    random: Cell<u64>,
    rows_left: Cell<u64>,
    /// `None` once there was too much.
    work_left: Cell<Option<u64>>,
    pub(crate) regexes: RefCell<RegexCache>,
    functions: Option<Arc<dyn Functions>>,
}

impl Runtime {
    pub(crate) fn new(context: EvalContext, functions: Option<Arc<dyn Functions>>) -> Self {
        Self {
            context,
            random: Cell::new(context.random_seed),
            rows_left: Cell::new(ROWS_PER_DOCUMENT_MAX),
            work_left: Cell::new(Some(WORK_PER_DOCUMENT_MAX)),
            regexes: RefCell::default(),
            functions,
        }
    }

    /// A new document begins.
    pub(crate) fn begin_document(&self) {
        self.rows_left.set(ROWS_PER_DOCUMENT_MAX);
        self.work_left.set(Some(WORK_PER_DOCUMENT_MAX));
    }

    /// Counts work that a function is about to do; `None` if it is too much. What the function
    /// gives is then of no account, as [`Self::check_work`] fails.
    pub(crate) fn work(&self, units: usize) -> Option<()> {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let left = self.work_left.get().and_then(|left| left.checked_sub(units));
        self.work_left.set(left);
        left.map(|_| ())
    }

    /// Fails once there was too much work.
    pub(crate) fn check_work(&self) -> Result<(), ExecError> {
        match self.work_left.get() {
            Some(_) => Ok(()),
            None => Err(ExecError::TooMuchWork {
                max_work: WORK_PER_DOCUMENT_MAX,
            }),
        }
    }

    /// Counts a visited row.
    pub(crate) fn count_row(&self) -> Result<(), ExecError> {
        let left = self.rows_left.get();
        if left == 0 {
            return Err(ExecError::TooManyRows {
                max_rows: ROWS_PER_DOCUMENT_MAX,
            });
        }
        self.rows_left.set(left - 1);
        Ok(())
    }

    /// The next 64 random bits (SplitMix64: enough for RAND, which promises nothing).
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The value of `node` where `env` is. Each kind in a function of its own: this frame is on the
/// stack once per nested level.
pub(crate) fn eval<'a>(node: &'a Node, env: &'a Env<'a>, runtime: &'a Runtime) -> Evaluated<'a> {
    match node {
        Node::Undefined => Ok(None),
        Node::Constant(value) => Ok(Some(Cow::Borrowed(value))),
        Node::Binding(level) => Ok(match env.out(*level) {
            Some(Frame::Value(value)) => Some(Cow::Borrowed(value.as_ref())),
            _ => None,
        }),
        Node::Path { base, steps } => eval_path(base, steps, env, runtime),
        Node::Not(operand) => eval_unary(operand, env, runtime, |v| {
            v.as_bool().map(|truth| Value::Bool(!truth))
        }),
        Node::Plus(operand) => eval_unary(operand, env, runtime, |v| v.is_number().then(|| v.clone())),
        Node::Minus(operand) => eval_unary(operand, env, runtime, |v| Num::of(v)?.negate().to_value()),
        Node::BitNot(operand) => eval_unary(operand, env, runtime, |v| {
            Some(Value::from(!Num::of(v)?.to_i32_wrapping()))
        }),
        Node::And(terms) => junction(terms, false, env, runtime),
        Node::Or(terms) => junction(terms, true, env, runtime),
        Node::Chain { first, rest } => eval_chain(first, rest, env, runtime),
        Node::Coalesce(operands) => eval_coalesce(operands, env, runtime),
        Node::Conditional {
            test,
            then,
            otherwise,
        } => {
            let holds = truth(eval(test, env, runtime)?.as_deref()) == Some(true);
            eval(if holds { then } else { otherwise }, env, runtime)
        }
        Node::In {
            value,
            constants,
            others,
            negated,
        } => turned(eval_in(value, constants, others, env, runtime), *negated),
        Node::Between {
            value,
            low,
            high,
            negated,
        } => turned(eval_between(value, low, high, env, runtime), *negated),
        Node::Like {
            value,
            pattern,
            negated,
        } => turned(eval_like(value, pattern, env, runtime), *negated),
        Node::Call { function, args } => eval_call(function, args, env, runtime),
        Node::Function { index, args } => eval_function(*index, args, env, runtime),
        Node::Array(items) => eval_array(items, env, runtime),
        Node::Object(members) => eval_object(members, env, runtime).map(Some),
        Node::Subquery(kind, block) => Ok(rows::eval_subquery(*kind, block, env, runtime)?.map(Cow::Owned)),
        Node::GroupKey { level, index } => Ok(match env.out(*level) {
            Some(Frame::Group { keys, .. }) => keys.get(*index).and_then(Option::as_ref).map(Cow::Borrowed),
            _ => None,
        }),
        Node::Computed {
            level, expression, ..
        } => eval_computed(*level, expression, env, runtime),
        Node::Aggregate { level, index } => Ok(match env.out(*level) {
            Some(Frame::Group { aggregates, .. }) => {
                aggregates.get(*index).and_then(Option::as_ref).map(Cow::Borrowed)
            }
            _ => None,
        }),
    }
}

fn eval_computed<'a>(level: usize, expression: &Node, env: &Env<'_>, runtime: &Runtime) -> Evaluated<'a> {
    let Some(Frame::Value(document)) = env.out(level) else {
        return Ok(None);
    };
    let alone = Env::root(document);
    let value = eval(expression, &alone, runtime)?;
    Ok(value.map(|value| Cow::Owned(value.into_owned())))
}

fn eval_unary<'a>(
    operand: &'a Node,
    env: &'a Env<'a>,
    runtime: &'a Runtime,
    apply: fn(&Value) -> Option<Value>,
) -> Evaluated<'a> {
    let value = eval(operand, env, runtime)?;
    Ok(value.as_deref().and_then(apply).map(Cow::Owned))
}

fn eval_coalesce<'a>(operands: &'a [Node], env: &'a Env<'a>, runtime: &'a Runtime) -> Evaluated<'a> {
    for operand in operands {
        if let Some(value) = eval(operand, env, runtime)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn eval_call<'a>(
    function: &'static FunctionSpec,
    args: &'a [Node],
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Evaluated<'a> {
    let mut values = Vec::with_capacity(args.len());
    for argument in args {
        let value = eval(argument, env, runtime)?;
        if function.strict && value.is_none() {
            return Ok(None);
        }
        values.push(value);
    }
    let work = values.iter().flatten().map(|value| weight(value)).sum();
    let outcome = runtime
        .work(work)
        .and_then(|()| (function.run)(&Args::new(&values, runtime)));
    if let Some(value) = &outcome {
        runtime.work(weight(value));
    }
    runtime.check_work()?;
    match outcome {
        Some(value) => bounded(value).map(|value| Some(Cow::Owned(value))),
        None => Ok(None),
    }
}

/// Calls a user-defined function, which is told of undefined arguments as well.
fn eval_function<'a>(
    index: usize,
    args: &'a [Node],
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Evaluated<'a> {
    let mut values = Vec::with_capacity(args.len());
    for argument in args {
        values.push(eval(argument, env, runtime)?);
    }
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_deref).collect();
    let functions = runtime.functions.as_ref().ok_or(ExecError::Function)?;
    match functions.call(index, &values)? {
        Some(value) => bounded(value).map(|value| Some(Cow::Owned(value))),
        None => Ok(None),
    }
}

/// Units of work to go through a value once, without what lies deeper in it.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() / TEXT_BYTES_PER_WORK,
        Value::Array(items) => items.len() / ITEMS_PER_WORK,
        Value::Object(members) => members.len() / ITEMS_PER_WORK,
        _ => 0,
    }
}

/// A test's outcome, the other way round behind NOT.
fn turned<'a>(outcome: Result<Option<bool>, ExecError>, negated: bool) -> Evaluated<'a> {
    outcome.map(|outcome| outcome.map(|outcome| owned(outcome != negated)))
}

fn owned<'a>(value: impl Into<Value>) -> Cow<'a, Value> {
    Cow::Owned(value.into())
}

fn truth(value: Option<&Value>) -> Option<bool> {
    value.and_then(Value::as_bool)
}

/// Refuses a value that grew beyond its bound.
fn bounded(value: Value) -> Result<Value, ExecError> {
    // Only these can be large.
    let bytes = match &value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => value_bytes(&value),
        _ => 0,
    };
    if bytes > VALUE_BYTES_MAX {
        Err(ExecError::ValueTooLarge {
            max_bytes: VALUE_BYTES_MAX,
        })
    } else {
        Ok(value)
    }
}

fn eval_path<'a>(
    base: &'a Node,
    steps: &'a [NodeStep],
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Evaluated<'a> {
    match eval(base, env, runtime)? {
        Some(Cow::Borrowed(value)) => Ok(walk(value, steps, env, runtime)?.map(Cow::Borrowed)),
        Some(Cow::Owned(value)) => {
            Ok(walk(&value, steps, env, runtime)?.map(|found| Cow::Owned(found.clone())))
        }
        None => Ok(None),
    }
}

fn walk<'v>(
    mut value: &'v Value,
    steps: &[NodeStep],
    env: &Env<'_>,
    runtime: &Runtime,
) -> Result<Option<&'v Value>, ExecError> {
    for step in steps {
        let next = match (step, value) {
            (NodeStep::Name(name), Value::Object(map)) => map.get(name),
            (NodeStep::Index(index), Value::Array(items)) => items.get(*index),
            (NodeStep::Dynamic(node), _) => {
                let key = eval(node, env, runtime)?;
                match (key.as_deref(), value) {
                    (Some(Value::String(name)), Value::Object(map)) => map.get(name),
                    (Some(key @ Value::Number(_)), Value::Array(items)) => Num::of(key)
                        .and_then(Num::to_i64)
                        .and_then(|index| usize::try_from(index).ok())
                        .and_then(|index| items.get(index)),
                    _ => None,
                }
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// AND (`decisive` false) or OR (`decisive` true): one decisive operand decides; otherwise one
/// that is no boolean makes it undefined.
fn junction<'a>(terms: &'a [Node], decisive: bool, env: &'a Env<'a>, runtime: &'a Runtime) -> Evaluated<'a> {
    let mut undefined = false;
    for term in terms {
        match truth(eval(term, env, runtime)?.as_deref()) {
            Some(truth) if truth == decisive => return Ok(Some(owned(decisive))),
            Some(_) => {}
            None => undefined = true,
        }
    }
    Ok(if undefined { None } else { Some(owned(!decisive)) })
}

fn eval_chain<'a>(
    first: &'a Node,
    rest: &'a [(BinaryOp, Node)],
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Evaluated<'a> {
    let mut left = eval(first, env, runtime)?;
    for (op, operand) in rest {
        let Some(a) = &left else {
            return Ok(None);
        };
        let Some(b) = eval(operand, env, runtime)? else {
            return Ok(None);
        };
        left = match binary(*op, a, &b) {
            Some(value) => Some(Cow::Owned(bounded(value)?)),
            None => None,
        };
    }
    Ok(left)
}

/// A binary operator on two defined values.
fn binary(op: BinaryOp, a: &Value, b: &Value) -> Option<Value> {
    match op {
        BinaryOp::Equal => return Some(Value::Bool(deep_equal(a, b))),
        BinaryOp::NotEqual => return Some(Value::Bool(!deep_equal(a, b))),
        BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => {
            return ordered(op, a, b).map(Value::Bool);
        }
        BinaryOp::Concat => {
            let (Value::String(a), Value::String(b)) = (a, b) else {
                return None;
            };
            return Some(Value::String(format!("{a}{b}")));
        }
        BinaryOp::Or | BinaryOp::And => return None, // compiled to Node::Or and Node::And
        _ => {}
    }
    let (x, y) = (Num::of(a)?, Num::of(b)?);
    let (i, j) = (x.to_i32_wrapping(), y.to_i32_wrapping());
    match op {
        BinaryOp::Add => x.add(y).to_value(),
        BinaryOp::Subtract => x.subtract(y).to_value(),
        BinaryOp::Multiply => x.multiply(y).to_value(),
        BinaryOp::Divide => x.divide(y).to_value(),
        BinaryOp::Modulo => x.modulo(y).to_value(),
        BinaryOp::BitOr => Some(Value::from(i | j)),
        BinaryOp::BitXor => Some(Value::from(i ^ j)),
        BinaryOp::BitAnd => Some(Value::from(i & j)),
        // Shift counts wrap at 32, as in the script engine.
        BinaryOp::ShiftLeft => Some(Value::from(i.wrapping_shl(j.cast_unsigned()))),
        BinaryOp::ShiftRight => Some(Value::from(i.wrapping_shr(j.cast_unsigned()))),
        BinaryOp::ShiftRightZero => Some(Value::from(i.cast_unsigned().wrapping_shr(j.cast_unsigned()))),
        _ => None,
    }
}

fn ordered(op: BinaryOp, a: &Value, b: &Value) -> Option<bool> {
    if !same_type(a, b) {
        return None;
    }
    let order = compare_values(Some(a), Some(b));
    Some(match op {
        BinaryOp::Less => order.is_lt(),
        BinaryOp::LessOrEqual => order.is_le(),
        BinaryOp::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn eval_in<'a>(
    value: &'a Node,
    constants: &'a [Value],
    others: &'a [Node],
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Result<Option<bool>, ExecError> {
    let Some(value) = eval(value, env, runtime)? else {
        return Ok(None);
    };
    if constants
        .binary_search_by(|item| compare_values(Some(item), Some(&value)))
        .is_ok()
    {
        return Ok(Some(true));
    }
    let mut undefined = false;
    for item in others {
        match eval(item, env, runtime)? {
            Some(item) if deep_equal(&item, &value) => return Ok(Some(true)),
            Some(_) => {}
            None => undefined = true,
        }
    }
    Ok(if undefined { None } else { Some(false) })
}

fn eval_between<'a>(
    value: &'a Node,
    low: &'a Node,
    high: &'a Node,
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Result<Option<bool>, ExecError> {
    let Some(value) = eval(value, env, runtime)? else {
        return Ok(None);
    };
    let (low, high) = (eval(low, env, runtime)?, eval(high, env, runtime)?);
    let above = low.and_then(|low| ordered(BinaryOp::GreaterOrEqual, &value, &low));
    let below = high.and_then(|high| ordered(BinaryOp::LessOrEqual, &value, &high));
    Ok(match (above, below) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    })
}

fn eval_like<'a>(
    value: &'a Node,
    pattern: &'a PatternNode,
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Result<Option<bool>, ExecError> {
    let value = eval(value, env, runtime)?;
    let Some(Value::String(text)) = value.as_deref() else {
        return Ok(None);
    };
    match pattern {
        PatternNode::Constant(pattern) => Ok(Some(pattern.matches(text))),
        PatternNode::Dynamic { pattern, escape } => {
            let pattern = eval(pattern, env, runtime)?;
            let Some(Value::String(pattern)) = pattern.as_deref() else {
                return Ok(None);
            };
            Ok(LikePattern::new(pattern, *escape).map(|pattern| pattern.matches(text)))
        }
    }
}

/// Adds up what a value under construction holds.
struct Growing(usize);

impl Growing {
    fn add(&mut self, value: &Value) -> Result<(), ExecError> {
        self.0 += value_bytes(value);
        if self.0 > VALUE_BYTES_MAX {
            return Err(ExecError::ValueTooLarge {
                max_bytes: VALUE_BYTES_MAX,
            });
        }
        Ok(())
    }
}

fn eval_array<'a>(items: &'a [Node], env: &'a Env<'a>, runtime: &'a Runtime) -> Evaluated<'a> {
    let mut array = Vec::with_capacity(items.len());
    let mut growing = Growing(0);
    for item in items {
        if let Some(value) = eval(item, env, runtime)? {
            growing.add(&value)?;
            array.push(value.into_owned());
        }
    }
    Ok(Some(Cow::Owned(Value::Array(array))))
}

/// An object of the defined members.
pub(crate) fn eval_object<'a>(
    members: &'a [(String, Node)],
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Result<Cow<'a, Value>, ExecError> {
    let mut object = Map::with_capacity(members.len());
    let mut growing = Growing(0);
    for (name, member) in members {
        if let Some(value) = eval(member, env, runtime)? {
            growing.add(&value)?;
            object.insert(name.clone(), value.into_owned());
        }
    }
    Ok(Cow::Owned(Value::Object(object)))
}
