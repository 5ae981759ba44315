//! Runs other programs: aloud (their output passes through and is kept), or quietly (it is shown
//! only if they fail).

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What a program printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) lines: Vec<String>,
}

/// Runs `command`, printing each line of its output and errors (in their order) as `show` decides.
pub(crate) fn filtered(command: &mut Command, show: impl Fn(&str) -> bool) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (reader, writer) = std::io::pipe().context("no pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("no pipe")?)
        .stderr(writer);
    let mut child = command.spawn().with_context(|| format!("can't start {name}"))?;
    // The command keeps the pipe's writing ends; without them gone the reader would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("can't read output")?).into_owned();
        if show(&line) {
            println!("    {line}");
        }
        lines.push(line);
    }
    let status = child.wait().with_context(|| format!("can't wait for {name}"))?;
    Ok(Finished {
        success: status.success(),
        lines,
    })
}

/// Runs `command` with its output passed through.
pub(crate) fn aloud(command: &mut Command) -> Result<Finished> {
    filtered(command, |_| true)
}

/// Runs `command`; its last lines become part of the error if it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<Vec<String>> {
    let shown = format!("{} {}", command.get_program().to_string_lossy(), {
        let arguments: Vec<_> = command
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        arguments.join(" ")
    });
    let finished = filtered(command, |_| false)?;
    if !finished.success {
        let from = finished.lines.len().saturating_sub(20);
        let last = finished.lines.get(from..).unwrap_or_default().join("\n");
        bail!("`{shown}` failed:\n{last}");
    }
    Ok(finished.lines)
}

/// Whether `program arguments` runs and succeeds.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_output_and_errors_and_tells_failure() {
        let both = aloud(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert!(!both.success);
        assert_eq!(both.lines, ["out", "err"]);
        let error = quietly(Command::new("sh").args(["-c", "echo cause; exit 1"])).unwrap_err();
        assert!(error.to_string().contains("cause"), "{error}");
        assert!(!works("/no/such/program", &[]));
    }
}
