//! One run of a stored procedure or trigger: load, call, do what it asks of its collection one
//! operation after the other, hand back what it set.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::{Ctx, Exception, Function, Object, Value};

use crate::engine::{Engine, evaluate};
use crate::{Bounds, HostError, ScriptError, Stop};

const PRELUDE: &str = include_str!("prelude.js");

/// What a script stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Run by name; its response is the answer.
    Procedure,
    /// Before a write: may change what is written.
    PreTrigger,
    /// After a write, in its transaction.
    PostTrigger,
}

/// What a run is given. Bodies and parameters are JSON texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The script's id, for stack traces.
    pub id: String,
    /// Its text.
    pub source: String,
    /// What it stands for.
    pub role: Role,
    /// `dbs/{rid}/colls/{rid}/`.
    pub self_link: String,
    /// `dbs/{id}/colls/{id}`.
    pub alt_link: String,
    /// `Create`, `Replace`, `Upsert`, `Patch`, `Delete`; of triggers.
    pub operation_type: Option<String>,
    /// The function's arguments: a JSON array.
    pub parameters: String,
    /// The request's headers that the script may know: a JSON object by names in lower case.
    pub request_headers: String,
    /// What the request is about.
    pub request_body: Option<String>,
    /// What the operation before a post-trigger answers.
    pub response_body: Option<String>,
}

/// What a run hands back, as JSON texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What a pre-trigger set.
    pub request_body: Option<String>,
    /// What a procedure or a post-trigger set.
    pub response_body: Option<String>,
}

/// A run that ended, well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How.
    pub outcome: Result<Outcome, ScriptError>,
    /// What it logged, a line each.
    pub log: String,
}

/// Does what scripts ask of their collection.
pub trait Host {
    /// Does one operation: `create`, `upsert`, `replace`, `delete`, `read`, `query`, `list`, with
    /// its arguments as JSON. Answers JSON: an object with `result` and `options`.
    ///
    /// # Errors
    /// [`HostError::Refused`] is told to the script; [`HostError::Stop`] ends the run.
    fn call(&mut self, name: &str, argument: &str) -> Result<String, HostError>;

    /// Whether no further operation is accepted, so that the script ends by itself.
    fn is_closing(&mut self) -> bool;
}

/// Runs a script to its end. Blocks.
pub fn run(input: &Input, bounds: &Bounds, stop: &Stop, host: Box<dyn Host>) -> Run {
    let log = Rc::new(RefCell::new(String::new()));
    let outcome = Engine::new(bounds, stop).and_then(|engine| drive(&engine, input, bounds, host, &log));
    let log = log.take();
    Run { outcome, log }
}

fn drive(
    engine: &Engine,
    input: &Input,
    bounds: &Bounds,
    host: Box<dyn Host>,
    log: &Rc<RefCell<String>>,
) -> Result<Outcome, ScriptError> {
    let begun = engine.context.with(|ctx| -> Result<_, ScriptError> {
        let world = engine.caught(&ctx, world(&ctx, engine, input, bounds, host, log))?;
        let main = engine.load(&ctx, &input.id, &input.source)?;
        let begin: Function<'_> = engine.caught(&ctx, world.get("begin"))?;
        let parameters: Value<'_> = engine.caught(&ctx, ctx.json_parse(input.parameters.as_str()))?;
        let called = begin.call::<_, ()>((main, parameters));
        engine.caught(&ctx, called)?;
        Ok(rquickjs::Persistent::save(&ctx, world))
    })?;
    let with_world = |ask: &dyn for<'js> Fn(&Ctx<'js>, &Object<'js>) -> Result<bool, ScriptError>| {
        engine.context.with(|ctx| {
            let world = engine.caught(&ctx, begun.clone().restore(&ctx))?;
            ask(&ctx, &world)
        })
    };
    loop {
        engine.run_jobs()?;
        let more = with_world(&|ctx, world| {
            call::<()>(engine, ctx, world, "check")?;
            call::<bool>(engine, ctx, world, "step")
        })?;
        if engine.stop.is_stopped() {
            return Err(ScriptError::Stopped);
        }
        if !more {
            break;
        }
    }
    engine.context.with(|ctx| {
        let world = engine.caught(&ctx, begun.restore(&ctx))?;
        let text = |name: &str| {
            let text: Option<String> = call(engine, &ctx, &world, name)?;
            match text {
                Some(text) if text.len() > bounds.result_bytes => Err(ScriptError::ResultTooLarge {
                    bytes: text.len(),
                    bytes_max: bounds.result_bytes,
                }),
                text => Ok(text),
            }
        };
        Ok(Outcome {
            request_body: text("requestBody")?,
            response_body: text("responseBody")?,
        })
    })
}

fn call<'js, T: rquickjs::FromJs<'js>>(
    engine: &Engine,
    ctx: &Ctx<'js>,
    world: &Object<'js>,
    name: &str,
) -> Result<T, ScriptError> {
    let function: Function<'_> = engine.caught(ctx, world.get(name))?;
    let called = function.call(());
    engine.caught(ctx, called)
}

/// Runs the prelude; answers what it answers.
fn world<'js>(
    ctx: &Ctx<'js>,
    engine: &Engine,
    input: &Input,
    bounds: &Bounds,
    host: Box<dyn Host>,
    log: &Rc<RefCell<String>>,
) -> rquickjs::Result<Object<'js>> {
    let functions = Object::new(ctx.clone())?;
    let host = Rc::new(RefCell::new(host));
    let (asked, stop) = (host.clone(), engine.stop.clone());
    functions.set(
        "call",
        Function::new(
            ctx.clone(),
            move |ctx: Ctx<'js>, name: String, argument: String| -> rquickjs::Result<String> {
                let answer = match asked.try_borrow_mut() {
                    Ok(mut host) => host.call(&name, &argument),
                    Err(_) => Err(HostError::Stop),
                };
                match answer {
                    Ok(text) => Ok(text),
                    Err(HostError::Refused { number, body }) => {
                        let refusal = Object::new(ctx.clone())?;
                        refusal.set("refused", true)?;
                        refusal.set("number", number)?;
                        refusal.set("body", body)?;
                        Err(ctx.throw(refusal.into_value()))
                    }
                    Err(HostError::Stop) => {
                        stop.stop();
                        Err(Exception::throw_internal(&ctx, "stopped"))
                    }
                }
            },
        )?,
    )?;
    functions.set(
        "closing",
        Function::new(ctx.clone(), move || {
            host.try_borrow_mut().map_or(true, |mut host| host.is_closing())
        })?,
    )?;
    let log = log.clone();
    let log_bytes = bounds.log_bytes;
    functions.set(
        "log",
        Function::new(ctx.clone(), move |text: String| {
            let mut log = log.borrow_mut();
            let room = log_bytes.saturating_sub(log.len() + 1);
            if !log.is_empty() && room > 0 {
                log.push('\n');
            }
            log.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
        })?,
    )?;

    let known = Object::new(ctx.clone())?;
    known.set("selfLink", input.self_link.as_str())?;
    known.set("altLink", input.alt_link.as_str())?;
    known.set("operationType", input.operation_type.as_deref())?;
    let role = match input.role {
        Role::Procedure => "procedure",
        Role::PreTrigger => "pre-trigger",
        Role::PostTrigger => "post-trigger",
    };
    known.set("role", role)?;
    known.set("requestHeaders", ctx.json_parse(input.request_headers.as_str())?)?;
    for (name, body) in [
        ("requestBody", &input.request_body),
        ("responseBody", &input.response_body),
    ] {
        if let Some(body) = body {
            known.set(name, ctx.json_parse(body.as_str())?)?;
        }
    }
    let prelude: Function<'js> = evaluate(ctx, PRELUDE, "prelude.js")?;
    prelude.call((functions, known))
}
