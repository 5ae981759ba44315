//! Runs scripts for the tests of this crate, as the product's own binary does for it; or, named how,
//! behaves as one that a script has taken over.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use scripts::{Frames, ORDER_BYTES_MAX, Order, Outcome, Report};

fn main() -> ExitCode {
    let Some(how) = std::env::args().nth(1) else {
        return scripts::work();
    };
    match misbehave(&how) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn misbehave(how: &str) -> std::io::Result<()> {
    let mut line = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    if how == "unable" {
        return line.write_all(&Report::Unable("no filter".to_owned()).encode());
    }
    line.write_all(&Report::Ready.encode())?;
    let mut frames = Frames::new(ORDER_BYTES_MAX);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let order = loop {
            if let Some(order) = frames.take().map_err(std::io::Error::other)? {
                break order;
            }
            let bytes = line.read(&mut chunk)?;
            if bytes == 0 {
                return Ok(());
            }
            frames.push(chunk.get(..bytes).unwrap_or_default());
        };
        if how == "does-not-forget" {
            let order = Order::decode(&order).map_err(std::io::Error::other)?;
            line.write_all(&until_it_is_to_forget(&order).encode())?;
            continue;
        }
        if how == "is-killed" {
            let killed = rustix::process::Signal::KILL;
            rustix::process::kill_process(rustix::process::getpid(), killed)?;
        }
        line.write_all(&answer(how))?;
        match how {
            "speaks-after-the-end" => {
                std::thread::sleep(std::time::Duration::from_millis(20));
                line.write_all(&answer("create"))?;
            }
            "ends" | "loads-and-ends" => return Ok(()),
            "loads-and-is-silent" => {
                while line.read(&mut chunk)? > 0 {}
                return Ok(());
            }
            "loads-and-lies" | "loads-and-gives-no-json" => {
                let applied = if how == "loads-and-lies" {
                    Report::Loaded(Ok(()))
                } else {
                    Report::Applied(Ok(Some("[1".to_owned())))
                };
                line.write_all(&applied.encode())?;
            }
            "never-stops-talking" => loop {
                line.write_all(&answer(how))?;
            },
            _ => {}
        }
    }
}

/// Does well what a query, or a procedure that asks for one, takes; but for the last step.
fn until_it_is_to_forget(order: &Order) -> Report {
    match order {
        Order::Run { .. } => Report::Call {
            name: "query".to_owned(),
            argument: r#"{"link":"dbs/d/colls/c","query":"SELECT VALUE udf.f()"}"#.to_owned(),
        },
        Order::Load { .. } => Report::Loaded(Ok(())),
        Order::Apply { .. } => Report::Applied(Ok(Some("1".to_owned()))),
        _ => Report::Ready,
    }
}

/// What it says to any order.
fn answer(how: &str) -> Vec<u8> {
    let ended = |body: &str| {
        let outcome = Outcome {
            request_body: None,
            response_body: Some(body.to_owned()),
        };
        Report::Ended {
            outcome: Ok(outcome),
            log: String::new(),
            steps: u64::MAX,
        }
        .encode()
    };
    let call = |name: &str, argument: &str| {
        let (name, argument) = (name.to_owned(), argument.to_owned());
        Report::Call { name, argument }.encode()
    };
    match how {
        "well" => ended("1"),
        how if how.starts_with("loads") => Report::Loaded(Ok(())).encode(),
        "frame-too-large" => vec![0xff; 64],
        "unknown-report" => vec![1, 0, 0, 0, 99],
        "cut-report" => vec![1, 0, 0, 0, 4],
        "ready-again" => Report::Ready.encode(),
        "result-too-large" => ended(&"x".repeat(5_000_000)),
        // As if the run's end were not one.
        "speaks-after-the-end" => ended("1"),
        "speaks-at-the-end" => [ended("1"), answer("create")].concat(),
        "create" => call(
            "create",
            r#"{"link":"dbs/d/colls/c","body":{"id":"late","pk":"a"}}"#,
        ),
        "unknown-operation" => call("drop", "{}"),
        "deep-argument" => call("create", &"[".repeat(1_000_000)),
        "never-stops-talking" => call("read", r#"{"link":"dbs/d/colls/c/docs/none"}"#),
        "another-container" => call(
            "create",
            r#"{"link":"dbs/d/colls/other","body":{"id":"1","pk":"a"}}"#,
        ),
        _ => Vec::new(),
    }
}
