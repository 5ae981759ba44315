//! The process that runs scripts for a server: it takes orders from the socket that is its standard
//! input, one after the other, and ends when the server closes it.
//!
//! Invariant: nothing of a run is left for the next one: each has an engine of its own. What stops a
//! run that doesn't end is not here: the server kills the process.

use std::cell::RefCell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::confine::confine;
use crate::frame::Frames;
use crate::message::{ARGUMENT_BYTES_MAX, ORDER_BYTES_MAX, Order, Report};
use crate::{Bounds, Functions, Host, HostError, NamedFunction, Stop, check, run};

/// How much is read at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Gives up all that scripts don't need, then runs what the standard input orders until it is closed.
///
/// Call it first in a process of its own: it closes every descriptor but the first three.
#[must_use]
pub fn work() -> ExitCode {
    let line = Rc::new(RefCell::new(Line {
        frames: Frames::new(ORDER_BYTES_MAX),
        chunk: vec![0; CHUNK_BYTES],
    }));
    let confined = confine();
    let first = match &confined {
        Ok(()) => Report::Ready,
        Err(why) => Report::Unable(why.clone()),
    };
    if line.borrow().send(&first).is_err() || confined.is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        let order = line.borrow_mut().receive();
        let report = match order {
            Ok(Some(Order::Run { input, bounds })) => {
                let stop = Stop::default();
                let asks = Asks {
                    line: line.clone(),
                    closed: false,
                };
                let run = run(&input, &bounds, &stop, Box::new(asks));
                Report::Ended {
                    outcome: run.outcome,
                    log: run.log,
                    steps: stop.steps(),
                }
            }
            Ok(Some(Order::Check { source, bounds })) => {
                Report::Checked(check(&source, &bounds, &Stop::default()))
            }
            Ok(Some(Order::Load { functions, bounds })) => {
                match serve_functions(&mut line.borrow_mut(), &functions, &bounds) {
                    Ok(_) => continue,
                    Err(_) => return ExitCode::FAILURE,
                }
            }
            // Meant for a run that ended meanwhile.
            Ok(Some(Order::Close)) => continue,
            Ok(None) => return ExitCode::SUCCESS,
            Ok(Some(Order::Reply(_) | Order::Refusal { .. } | Order::Apply { .. } | Order::Forget))
            | Err(_) => {
                return ExitCode::FAILURE;
            }
        };
        if line.borrow().send(&report).is_err() {
            return ExitCode::FAILURE;
        }
    }
}

/// Loads functions and calls them until they are to be forgotten; whether the run that their query
/// belongs to was closed meanwhile.
fn serve_functions(line: &mut Line, functions: &[NamedFunction], bounds: &Bounds) -> io::Result<bool> {
    let stop = Stop::default();
    let mut closed = false;
    let loaded = Functions::load(functions, bounds, &stop);
    let told = loaded.as_ref().map(|_| ()).map_err(Clone::clone);
    line.send(&Report::Loaded(told))?;
    loop {
        match line.receive()? {
            Some(Order::Apply { function, arguments }) => {
                let function = usize::try_from(function).unwrap_or(usize::MAX);
                let applied = match &loaded {
                    Ok(functions) => functions.apply(function, &arguments),
                    Err(error) => Err(error.clone()),
                };
                line.send(&Report::Applied(applied))?;
            }
            Some(Order::Close) => closed = true,
            Some(Order::Forget) => {
                drop(loaded);
                line.send(&Report::Forgotten { steps: stop.steps() })?;
                return Ok(closed);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The socket to the server.
struct Line {
    frames: Frames,
    chunk: Vec<u8>,
}

impl Line {
    fn send(&self, report: &Report) -> io::Result<()> {
        let frame = report.encode();
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let sent = match send(io::stdin(), rest, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => 0,
                other => other?,
            };
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// The next order; none when the server has closed.
    fn receive(&mut self) -> io::Result<Option<Order>> {
        loop {
            if let Some(order) = self.take()? {
                return Ok(Some(order));
            }
            if self.read(RecvFlags::empty())? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Order>> {
        let frame = self.frames.take().map_err(io::Error::other)?;
        frame
            .map(|frame| Order::decode(&frame).map_err(io::Error::other))
            .transpose()
    }

    fn read(&mut self, flags: RecvFlags) -> io::Result<usize> {
        let bytes = loop {
            match recv(io::stdin(), &mut self.chunk, flags) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?.0,
            }
        };
        self.frames.push(self.chunk.get(..bytes).unwrap_or_default());
        Ok(bytes)
    }
}

/// What a script asks of its collection, asked of the server.
struct Asks {
    line: Rc<RefCell<Line>>,
    closed: bool,
}

impl Host for Asks {
    fn call(&mut self, name: &str, argument: &str) -> Result<String, HostError> {
        if argument.len() > ARGUMENT_BYTES_MAX {
            return Err(HostError::Refused {
                number: 413,
                body: format!(
                    "The operation's arguments have {} bytes, at most {ARGUMENT_BYTES_MAX} are allowed.",
                    argument.len()
                ),
            });
        }
        let mut line = self.line.borrow_mut();
        let call = Report::Call {
            name: name.to_owned(),
            argument: argument.to_owned(),
        };
        line.send(&call).map_err(|_| HostError::Stop)?;
        loop {
            return match line.receive() {
                Ok(Some(Order::Reply(text))) => Ok(text),
                Ok(Some(Order::Refusal { number, body })) => Err(HostError::Refused { number, body }),
                Ok(Some(Order::Close)) => {
                    self.closed = true;
                    continue;
                }
                // The query that was asked for calls functions.
                Ok(Some(Order::Load { functions, bounds })) => {
                    let closed = serve_functions(&mut line, &functions, &bounds);
                    self.closed |= closed.map_err(|_| HostError::Stop)?;
                    continue;
                }
                Ok(_) | Err(_) => Err(HostError::Stop),
            };
        }
    }

    fn is_closing(&mut self) -> bool {
        let mut line = self.line.borrow_mut();
        // While a script works, nothing else can come.
        while !self.closed {
            match line.take() {
                Ok(Some(Order::Close)) => self.closed = true,
                Ok(None) if line.read(RecvFlags::DONTWAIT).is_ok_and(|bytes| bytes > 0) => {}
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => self.closed = true,
            }
        }
        self.closed
    }
}
