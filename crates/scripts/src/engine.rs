//! One QuickJS runtime with one context, its bounds set; how its errors are read.

use rquickjs::context::{EvalOptions, intrinsic};
use rquickjs::{CatchResultExt as _, CaughtError, Context, Ctx, Function, Object, Runtime, Value};

use crate::{Bounds, ScriptError, Stop};

/// Steps between two of the engine's looks at [`Stop`].
const STEPS_PER_LOOK: u64 = 10_000;

/// Longest text of an error, bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024;

const GUARD: &str = include_str!("guard.js");

/// Nothing of typed arrays, proxies and weak references: scripts on documents have no use for
/// them, and each has ways to work for long without being asked to stop.
type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::Promise,
);

/// A runtime and its one context.
pub(crate) struct Engine {
    // Dropped before the runtime.
    pub(crate) context: Context,
    pub(crate) runtime: Runtime,
    pub(crate) stop: Stop,
}

impl Engine {
    pub(crate) fn new(bounds: &Bounds, stop: &Stop) -> Result<Self, ScriptError> {
        let failed =
            |error: rquickjs::Error| ScriptError::thrown(format!("The engine didn't start: {error}."));
        let runtime = Runtime::new().map_err(failed)?;
        runtime.set_memory_limit(bounds.memory_bytes);
        runtime.set_max_stack_size(bounds.stack_bytes);
        let watched = stop.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || {
            watched.step(STEPS_PER_LOOK);
            watched.is_stopped()
        })));
        Self::in_runtime(runtime, stop)
    }

    /// Another context in the same runtime: another world, the same bounds.
    pub(crate) fn another(&self) -> Result<Self, ScriptError> {
        Self::in_runtime(self.runtime.clone(), &self.stop)
    }

    fn in_runtime(runtime: Runtime, stop: &Stop) -> Result<Self, ScriptError> {
        let context = Context::custom::<Intrinsics>(&runtime)
            .map_err(|error| ScriptError::thrown(format!("The engine didn't start: {error}.")))?;
        let engine = Self {
            context,
            runtime,
            stop: stop.clone(),
        };
        engine.context.with(|ctx| {
            let guard: Function<'_> = engine.caught(&ctx, evaluate(&ctx, GUARD, "guard.js"))?;
            engine.caught(&ctx, guard.call::<_, ()>(()))
        })?;
        Ok(engine)
    }

    /// Compiles without running: the text becomes the body of functions that nobody calls.
    pub(crate) fn check(&self, source: &str) -> Result<(), ScriptError> {
        self.context.with(|ctx| {
            let expression = format!("(function () {{ return ({source}\n); }})");
            let program = format!("(function () {{ {source}\n }})");
            for text in [&expression, &program] {
                let compiled: rquickjs::Result<Value<'_>> = evaluate(&ctx, text, "script.js");
                match self.caught(&ctx, compiled) {
                    Ok(_) => return Ok(()),
                    Err(ScriptError::Thrown { message, .. }) if message.starts_with("SyntaxError") => {
                        if std::ptr::eq(text, &program) {
                            return Err(ScriptError::Syntax(message));
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    /// The function that a script is: its text as an expression; else what the text, run as a
    /// program, ends with; else the first function that it declares.
    pub(crate) fn load<'js>(
        &self,
        ctx: &Ctx<'js>,
        id: &str,
        source: &str,
    ) -> Result<Function<'js>, ScriptError> {
        let file = format!("{}.js", id.replace('\0', ""));
        let as_expression = evaluate::<Value<'_>>(ctx, &format!("({source}\n)"), &file);
        let value = match self.caught(ctx, as_expression) {
            Ok(value) => value,
            Err(ScriptError::Thrown { message, .. }) if message.starts_with("SyntaxError") => {
                self.load_program(ctx, &file, source)?
            }
            Err(error) => return Err(error),
        };
        value.into_function().ok_or_else(|| {
            ScriptError::thrown(format!(
                "TypeError: The body of {id} is not a function, and declares none."
            ))
        })
    }

    fn load_program<'js>(&self, ctx: &Ctx<'js>, file: &str, source: &str) -> Result<Value<'js>, ScriptError> {
        let globals = ctx.globals();
        let names = |globals: &Object<'js>| -> Vec<String> { globals.keys::<String>().flatten().collect() };
        let before = names(&globals);
        let value = self.caught(ctx, evaluate::<Value<'_>>(ctx, source, file));
        let value = match value {
            Err(ScriptError::Thrown { message, .. }) if message.starts_with("SyntaxError") => {
                return Err(ScriptError::Syntax(message));
            }
            other => other?,
        };
        if value.is_function() {
            return Ok(value);
        }
        for name in names(&globals) {
            if before.contains(&name) {
                continue;
            }
            let declared: Value<'_> = self.caught(ctx, globals.get(name.as_str()))?;
            if declared.is_function() {
                return Ok(declared);
            }
        }
        Ok(value)
    }

    /// Turns what the engine threw into what is reported.
    pub(crate) fn caught<'js, T>(
        &self,
        ctx: &Ctx<'js>,
        result: rquickjs::Result<T>,
    ) -> Result<T, ScriptError> {
        match result.catch(ctx) {
            Ok(value) => Ok(value),
            // What ends a run can't be told from other errors by the engine's word for it.
            Err(_) if self.stop.is_stopped() => Err(ScriptError::Stopped),
            Err(CaughtError::Exception(exception)) => {
                Err(self.thrown(&exception.as_object().clone().into_value(), exception.stack()))
            }
            Err(CaughtError::Value(value)) => Err(self.thrown(&value, None)),
            Err(CaughtError::Error(error)) => {
                Err(ScriptError::thrown(format!("The engine failed: {error}.")))
            }
        }
    }

    fn thrown(&self, value: &Value<'_>, stack: Option<String>) -> ScriptError {
        let number = value
            .as_object()
            .and_then(|object| object.get::<_, f64>("number").ok())
            .filter(|number| number.fract() == 0.0 && (1.0..=65_535.0).contains(number));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was just looked at"
        )]
        let number = number.map(|number| number as u32);
        ScriptError::Thrown {
            number,
            message: cut(self.words(value), TEXT_BYTES_MAX),
            stack: cut(stack.unwrap_or_default(), TEXT_BYTES_MAX),
        }
    }

    /// A thrown value in words, without running more of the script than its own `toString`.
    fn words(&self, value: &Value<'_>) -> String {
        if value.is_null() {
            // The engine has no memory left to say so.
            return "InternalError: out of memory".to_owned();
        }
        if let Some(object) = value.as_object() {
            let text = |name: &str| object.get::<_, String>(name).ok().filter(|text| !text.is_empty());
            if value.is_error() {
                let name = text("name").unwrap_or_else(|| "Error".to_owned());
                return match text("message") {
                    Some(message) => format!("{name}: {message}"),
                    None => name,
                };
            }
            let ctx = value.ctx();
            let json = ctx.json_stringify(value.clone());
            return match json.catch(ctx) {
                Ok(Some(json)) => json.to_string().unwrap_or_default(),
                _ => "[object]".to_owned(),
            };
        }
        if let Some(text) = value.as_string() {
            return text.to_string().unwrap_or_default();
        }
        if let Some(number) = value.as_number() {
            return number.to_string();
        }
        if let Some(truth) = value.as_bool() {
            return truth.to_string();
        }
        value.type_name().to_owned()
    }

    /// Runs what waits for promises until nothing does.
    pub(crate) fn run_jobs(&self) -> Result<(), ScriptError> {
        loop {
            if self.stop.is_stopped() {
                return Err(ScriptError::Stopped);
            }
            match self.runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(job) => {
                    return job
                        .0
                        .with(|ctx| self.caught::<()>(&ctx, Err(rquickjs::Error::Exception)));
                }
            }
        }
    }
}

/// Runs a text; not in strict mode, which scripts ask for themselves.
pub(crate) fn evaluate<'js, V: rquickjs::FromJs<'js>>(
    ctx: &Ctx<'js>,
    source: &str,
    file: &str,
) -> rquickjs::Result<V> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(file.to_owned());
    ctx.eval_with_options(source, options)
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
