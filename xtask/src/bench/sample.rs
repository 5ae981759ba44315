//! Runs the load generator (benches/peers, a workspace of its own) and reads its measurements.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::context::Context;
use crate::run::{filtered, quietly};

/// One kind of operation, measured.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) operation: String,
    pub(crate) per_second: f64,
    /// Operations per second of each slice that it was measured in.
    pub(crate) rates: Vec<f64>,
    pub(crate) p50_milliseconds: f64,
    pub(crate) p99_milliseconds: f64,
    pub(crate) max_milliseconds: f64,
    /// Processor time of the server per thousand operations.
    pub(crate) cpu_milliseconds_per_operation: f64,
    /// Processor time of the load generator, which runs beside the server.
    pub(crate) generator_milliseconds_per_operation: f64,
    pub(crate) memory_bytes: u64,
}

/// The load generator.
#[derive(Debug)]
pub(crate) struct Load {
    program: PathBuf,
    seconds: u64,
}

impl Load {
    /// Builds it.
    pub(crate) fn build(context: &Context, seconds: u64) -> Result<Self> {
        context.say("building the load generator");
        let target = context.target.join("peers");
        quietly(
            context
                .cargo()
                .current_dir(context.root.join(super::peers::FOLDER))
                .env("CARGO_TARGET_DIR", &target)
                .args(["build", "--release", "--locked"]),
        )?;
        Ok(Self {
            program: target.join("release/peers"),
            seconds,
        })
    }

    /// Measures; `pids` are the servers whose use of the machine is read, together.
    pub(crate) fn run(&self, pids: &[u32], target: &[&str]) -> Result<Vec<Sample>> {
        Ok(self.run_with_facts(pids, target)?.0)
    }

    /// Measures; gives what it learned beside as well.
    pub(crate) fn run_with_facts(&self, pids: &[u32], target: &[&str]) -> Result<(Vec<Sample>, Vec<Fact>)> {
        let mut command = Command::new(&self.program);
        for pid in pids {
            command.args(["--pid", &pid.to_string()]);
        }
        let finished = filtered(
            command
                .args(["--seconds", &self.seconds.to_string()])
                .args(target),
            |_| true,
        )?;
        ensure!(finished.success, "the load generator failed");
        let (mut samples, mut facts) = (Vec::new(), Vec::new());
        for line in finished.lines.iter().filter(|line| line.starts_with('{')) {
            match fact(line)? {
                Some(fact) => facts.push(fact),
                None => samples.push(parse(line)?),
            }
        }
        Ok((samples, facts))
    }
}

/// Something measured that isn't a kind of operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
}

fn fact(line: &str) -> Result<Option<Fact>> {
    let value: Value = serde_json::from_str(line)?;
    let Some(name) = value.get("fact").and_then(Value::as_str) else {
        return Ok(None);
    };
    let number = |side: &str| {
        let number = value.get(side).and_then(Value::as_f64);
        number.with_context(|| format!("no {side} in {line}"))
    };
    Ok(Some(Fact {
        name: name.to_owned(),
        ours: number("ours")?,
        theirs: number("theirs")?,
    }))
}

fn parse(line: &str) -> Result<Sample> {
    let value: Value = serde_json::from_str(line)?;
    let number = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_f64)
            .with_context(|| format!("no {name} in {line}"))
    };
    let operations = number("operations")?.max(1.0);
    Ok(Sample {
        operation: value
            .get("operation")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        per_second: number("per_second")?,
        rates: value
            .get("rates")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect(),
        p50_milliseconds: number("p50_milliseconds")?,
        p99_milliseconds: number("p99_milliseconds")?,
        max_milliseconds: number("max_milliseconds")?,
        cpu_milliseconds_per_operation: number("cpu_seconds")? * 1_000.0 / operations,
        generator_milliseconds_per_operation: number("generator_cpu_seconds")? * 1_000.0 / operations,
        memory_bytes: value.get("memory_bytes").and_then(Value::as_u64).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_measurement() {
        let line = r#"{"operation":"put 4 KiB","operations":2000,"seconds":2.0,"per_second":1000.0,"rates":[900.0,1100.0],
            "p50_milliseconds":1.5,"p99_milliseconds":3.0,"max_milliseconds":9.0,"cpu_seconds":1.0,
            "generator_cpu_seconds":0.5,"memory_bytes":1048576}"#;
        let sample = parse(line).unwrap();
        assert!((sample.cpu_milliseconds_per_operation - 0.5).abs() < 1e-9);
        assert!((sample.generator_milliseconds_per_operation - 0.25).abs() < 1e-9);
        assert_eq!(sample.memory_bytes, 1_048_576);
        assert_eq!(sample.rates.len(), 2);
        assert!(parse("{}").is_err());
        assert_eq!(fact(line).unwrap(), None);
    }

    #[test]
    fn reads_a_fact() {
        let read = fact(r#"{"fact":"disk_bytes","ours":1.0,"theirs":2.5}"#).unwrap();
        let wanted = Fact {
            name: "disk_bytes".to_owned(),
            ours: 1.0,
            theirs: 2.5,
        };
        assert_eq!(read, Some(wanted));
        assert!(fact(r#"{"fact":"disk_bytes","ours":1.0}"#).is_err());
    }
}
