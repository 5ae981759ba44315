//! User-defined functions: loaded once, called for value after value.
//!
//! Invariant: functions share nothing but memory: each has a world of its own, in which there is
//! only the language: no context, no collection, no console.

use rquickjs::function::Args;
use rquickjs::{Function, Persistent};

use crate::engine::Engine;
use crate::{Bounds, ScriptError, Stop};

/// A function's text under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFunction {
    /// Its id, for stack traces.
    pub id: String,
    /// Its text.
    pub source: String,
}

/// Loaded functions.
pub struct Functions(Vec<Loaded>);

struct Loaded {
    // Dropped before its engine.
    function: Persistent<Function<'static>>,
    engine: Engine,
    result_bytes: usize,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Functions").field(&self.0.len()).finish()
    }
}

impl Functions {
    /// Loads functions, which share the bounds.
    ///
    /// # Errors
    /// [`ScriptError`] for a text that is none, or that throws while it is loaded.
    pub fn load(functions: &[NamedFunction], bounds: &Bounds, stop: &Stop) -> Result<Self, ScriptError> {
        let first = Engine::new(bounds, stop)?;
        let mut loaded = Vec::with_capacity(functions.len());
        for named in functions {
            let engine = first.another()?;
            let function = engine.context.with(|ctx| -> Result<_, ScriptError> {
                let function = engine.load(&ctx, &named.id, &named.source)?;
                Ok(Persistent::save(&ctx, function))
            })?;
            loaded.push(Loaded {
                function,
                engine,
                result_bytes: bounds.result_bytes,
            });
        }
        Ok(Self(loaded))
    }

    /// Calls a function, by its place among those that were loaded, with JSON texts; `None` is undefined,
    /// also of what it gives. Halves of surrogate pairs, which no encoding has, come out as U+FFFD.
    ///
    /// # Errors
    /// What it throws; [`ScriptError::ResultTooLarge`].
    pub fn apply(
        &self,
        function: usize,
        arguments: &[Option<String>],
    ) -> Result<Option<String>, ScriptError> {
        let Some(loaded) = self.0.get(function) else {
            return Err(ScriptError::thrown("There is no such function."));
        };
        let engine = &loaded.engine;
        let text = engine.context.with(|ctx| -> Result<_, ScriptError> {
            let function = engine.caught(&ctx, loaded.function.clone().restore(&ctx))?;
            let call = || -> rquickjs::Result<_> {
                let mut given = Args::new(ctx.clone(), arguments.len());
                for argument in arguments {
                    match argument {
                        Some(text) => given.push_arg(ctx.json_parse(text.as_str())?)?,
                        None => given.push_arg(rquickjs::Undefined)?,
                    }
                }
                let value: rquickjs::Value<'_> = function.call_arg(given)?;
                let text = ctx.json_stringify(value)?;
                text.map(|text| Ok(without_halves(text.to_string()?))).transpose()
            };
            engine.caught(&ctx, call())
        })?;
        // What it left for later must not pile up.
        engine.run_jobs()?;
        match text {
            Some(text) if text.len() > loaded.result_bytes => Err(ScriptError::ResultTooLarge {
                bytes: text.len(),
                bytes_max: loaded.result_bytes,
            }),
            text => Ok(text),
        }
    }
}

/// Replaces each lone half of a surrogate pair in a JSON text by U+FFFD. JSON.stringify (ECMA-262,
/// QuoteJSONString) writes exactly those as `\ud800` to `\udfff`; a pair it writes as the character.
fn without_halves(text: String) -> String {
    const REPLACEMENT: &str = "\\ufffd";
    let mut halves = Vec::new();
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte != b'\\' {
            continue;
        }
        // What is escaped may be a backslash itself.
        let _ = bytes.next();
        let escape = text.as_bytes().get(at + 1..at + 4);
        if let Some([b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']) = escape {
            halves.push(at);
        }
    }
    let mut text = text;
    for at in halves {
        // Of the same length.
        text.replace_range(at..at + REPLACEMENT.len(), REPLACEMENT);
    }
    text
}
