//! What a server and its script workers say to each other. A worker is told an [`Order`] and answers
//! with [`Report`]s; while a script runs it may ask for operations, one at a time.
//!
//! Invariant: a worker may have been taken over by the script that it ran, so a report is decoded
//! without trust: every size is bounded before anything is taken for it, nothing nests, and what
//! could be written in two ways is refused in all but one. What a report *says* is for its reader to
//! doubt.

use crate::engine::TEXT_BYTES_MAX;
use crate::frame::{FrameReader, FrameWriter, LineError};
use crate::{Bounds, Input, NamedFunction, Outcome, Role, ScriptError};

/// Longest frame to a worker, bytes: a script's text with the request's body twice, whose numbers may
/// be written longer than they came, or a page of items.
pub const ORDER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest frame from a worker, bytes: two results of the largest size.
pub const REPORT_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Longest argument of an operation that a script asks for, bytes; more than a document and more
/// than a query may have.
pub const ARGUMENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most functions that are loaded at once.
pub const FUNCTIONS_MAX: u64 = 64;

/// Most arguments of one call of a function.
pub const ARGUMENTS_MAX: u64 = 4_096;

/// Longest name of an operation, bytes.
const NAME_BYTES_MAX: usize = 32;

/// What a worker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Run a script to its end.
    Run {
        /// What it is given.
        input: Box<Input>,
        /// What it may use.
        bounds: Bounds,
    },
    /// Look whether a text could be a script.
    Check {
        /// The text.
        source: String,
        /// What looking may use.
        bounds: Bounds,
    },
    /// The operation that was asked for is done; this is its reply.
    Reply(String),
    /// The operation that was asked for is refused.
    Refusal {
        /// A status in HTTP's manner.
        number: u16,
        /// Why.
        body: String,
    },
    /// From now on no operation of the script is accepted.
    Close,
    /// Load functions that a query calls. Also while an operation is done for a script, whose query
    /// it is.
    Load {
        /// The functions.
        functions: Vec<NamedFunction>,
        /// What they may use, together.
        bounds: Bounds,
    },
    /// Call one of them.
    Apply {
        /// Which, in the order in which they were loaded.
        function: u32,
        /// Its arguments, JSON; none is undefined.
        arguments: Vec<Option<String>>,
    },
    /// They are called no more.
    Forget,
}

/// What a worker tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It has given up what it doesn't need, and waits for orders.
    Ready,
    /// It can't give that up, so it runs nothing; why.
    Unable(String),
    /// The script asks for an operation.
    Call {
        /// Which; anything, perhaps one that doesn't exist.
        name: String,
        /// Its arguments, said to be JSON.
        argument: String,
    },
    /// The run is over.
    Ended {
        /// How.
        outcome: Result<Outcome, ScriptError>,
        /// What it logged.
        log: String,
        /// Calls and loops, as the worker says.
        steps: u64,
    },
    /// The text was looked at.
    Checked(Result<(), ScriptError>),
    /// The functions were loaded.
    Loaded(Result<(), ScriptError>),
    /// A function was called; what it gave, said to be JSON, none being undefined.
    Applied(Result<Option<String>, ScriptError>),
    /// The functions are gone.
    Forgotten {
        /// Calls and loops, as the worker says.
        steps: u64,
    },
}

fn write_bounds(frame: &mut FrameWriter, bounds: &Bounds) {
    for value in [
        bounds.memory_bytes,
        bounds.stack_bytes,
        bounds.result_bytes,
        bounds.log_bytes,
    ] {
        frame.number(value as u64);
    }
}

fn read_bounds(frame: &mut FrameReader<'_>) -> Result<Bounds, LineError> {
    Ok(Bounds {
        memory_bytes: frame.size()?,
        stack_bytes: frame.size()?,
        result_bytes: frame.size()?,
        log_bytes: frame.size()?,
    })
}

impl Order {
    /// The order as a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Run { input, bounds } => {
                let mut frame = FrameWriter::new(1);
                write_bounds(&mut frame, bounds);
                frame.byte(match input.role {
                    Role::Procedure => 0,
                    Role::PreTrigger => 1,
                    Role::PostTrigger => 2,
                });
                frame.text(&input.id).text(&input.source);
                frame.text(&input.self_link).text(&input.alt_link);
                frame.optional(input.operation_type.as_deref());
                frame.text(&input.parameters).text(&input.request_headers);
                frame.optional(input.request_body.as_deref());
                frame.optional(input.response_body.as_deref()).finish()
            }
            Self::Check { source, bounds } => {
                let mut frame = FrameWriter::new(2);
                write_bounds(&mut frame, bounds);
                frame.text(source).finish()
            }
            Self::Reply(text) => FrameWriter::new(3).text(text).finish(),
            Self::Refusal { number, body } => {
                FrameWriter::new(4).number((*number).into()).text(body).finish()
            }
            Self::Close => FrameWriter::new(5).finish(),
            Self::Load { functions, bounds } => {
                let mut frame = FrameWriter::new(6);
                write_bounds(&mut frame, bounds);
                frame.number(functions.len() as u64);
                for function in functions {
                    frame.text(&function.id).text(&function.source);
                }
                frame.finish()
            }
            Self::Apply { function, arguments } => {
                let mut frame = FrameWriter::new(7);
                frame.number(u64::from(*function)).number(arguments.len() as u64);
                for argument in arguments {
                    frame.optional(argument.as_deref());
                }
                frame.finish()
            }
            Self::Forget => FrameWriter::new(8).finish(),
        }
    }

    /// # Errors
    /// [`LineError::Malformed`].
    pub fn decode(frame: &[u8]) -> Result<Self, LineError> {
        let mut frame = FrameReader::new(frame);
        let most = ORDER_BYTES_MAX;
        let order = match frame.byte()? {
            1 => {
                let bounds = read_bounds(&mut frame)?;
                let role = match frame.byte()? {
                    0 => Role::Procedure,
                    1 => Role::PreTrigger,
                    2 => Role::PostTrigger,
                    _ => return Err(LineError::Malformed("a role that isn't known")),
                };
                let input = Input {
                    role,
                    id: frame.text(most)?,
                    source: frame.text(most)?,
                    self_link: frame.text(most)?,
                    alt_link: frame.text(most)?,
                    operation_type: frame.optional(most)?,
                    parameters: frame.text(most)?,
                    request_headers: frame.text(most)?,
                    request_body: frame.optional(most)?,
                    response_body: frame.optional(most)?,
                };
                Self::Run {
                    input: Box::new(input),
                    bounds,
                }
            }
            2 => Self::Check {
                bounds: read_bounds(&mut frame)?,
                source: frame.text(most)?,
            },
            3 => Self::Reply(frame.text(most)?),
            4 => Self::Refusal {
                number: u16::try_from(frame.number()?)
                    .map_err(|_| LineError::Malformed("a status that is none"))?,
                body: frame.text(most)?,
            },
            5 => Self::Close,
            6 => Self::Load {
                bounds: read_bounds(&mut frame)?,
                functions: (0..count(&mut frame, FUNCTIONS_MAX)?)
                    .map(|_| {
                        Ok(NamedFunction {
                            id: frame.text(most)?,
                            source: frame.text(most)?,
                        })
                    })
                    .collect::<Result<_, LineError>>()?,
            },
            7 => Self::Apply {
                function: u32::try_from(frame.number()?)
                    .map_err(|_| LineError::Malformed("a function that is none"))?,
                arguments: (0..count(&mut frame, ARGUMENTS_MAX)?)
                    .map(|_| frame.optional(most))
                    .collect::<Result<_, LineError>>()?,
            },
            8 => Self::Forget,
            _ => return Err(LineError::Malformed("an order that isn't known")),
        };
        frame.finish()?;
        Ok(order)
    }
}

fn count(frame: &mut FrameReader<'_>, most: u64) -> Result<u64, LineError> {
    match frame.number()? {
        count if count <= most => Ok(count),
        _ => Err(LineError::Malformed("too many of something")),
    }
}

/// A step that is well done or failed, and what comes after its tag.
fn write_found(frame: &mut FrameWriter, found: &Result<(), ScriptError>) {
    match found {
        Ok(()) => {
            frame.byte(0);
        }
        Err(error) => write_error(frame, error),
    }
}

fn read_found(frame: &mut FrameReader<'_>) -> Result<Result<(), ScriptError>, LineError> {
    Ok(match frame.byte()? {
        0 => Ok(()),
        tag => Err(read_error(tag, frame)?),
    })
}

fn write_error(frame: &mut FrameWriter, error: &ScriptError) {
    match error {
        ScriptError::Syntax(text) => frame.byte(1).text(text),
        ScriptError::Thrown {
            number,
            message,
            stack,
        } => frame
            .byte(2)
            .number(number.unwrap_or(0).into())
            .text(message)
            .text(stack),
        ScriptError::Stopped => frame.byte(3),
        ScriptError::ResultTooLarge { bytes, bytes_max } => {
            frame.byte(4).number(*bytes as u64).number(*bytes_max as u64)
        }
    };
}

fn read_error(tag: u8, frame: &mut FrameReader<'_>) -> Result<ScriptError, LineError> {
    match tag {
        1 => Ok(ScriptError::Syntax(frame.text(TEXT_BYTES_MAX)?)),
        2 => Ok(ScriptError::Thrown {
            // Numbers become the protocol's substatus.
            number: match frame.number()? {
                0 => None,
                number => Some(
                    u16::try_from(number)
                        .map_err(|_| LineError::Malformed("an error's number that is none"))?
                        .into(),
                ),
            },
            message: frame.text(TEXT_BYTES_MAX)?,
            stack: frame.text(TEXT_BYTES_MAX)?,
        }),
        3 => Ok(ScriptError::Stopped),
        4 => Ok(ScriptError::ResultTooLarge {
            bytes: frame.size()?,
            bytes_max: frame.size()?,
        }),
        _ => Err(LineError::Malformed("an error that isn't known")),
    }
}

impl Report {
    /// The report as a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => FrameWriter::new(1).finish(),
            Self::Unable(text) => FrameWriter::new(2).text(text).finish(),
            Self::Call { name, argument } => FrameWriter::new(3).text(name).text(argument).finish(),
            Self::Ended { outcome, log, steps } => {
                let mut frame = FrameWriter::new(4);
                frame.number(*steps).text(log);
                match outcome {
                    Ok(outcome) => {
                        frame.byte(0).optional(outcome.request_body.as_deref());
                        frame.optional(outcome.response_body.as_deref());
                    }
                    Err(error) => write_error(&mut frame, error),
                }
                frame.finish()
            }
            Self::Checked(found) => {
                let mut frame = FrameWriter::new(5);
                write_found(&mut frame, found);
                frame.finish()
            }
            Self::Loaded(found) => {
                let mut frame = FrameWriter::new(6);
                write_found(&mut frame, found);
                frame.finish()
            }
            Self::Applied(applied) => {
                let mut frame = FrameWriter::new(7);
                match applied {
                    Ok(text) => {
                        frame.byte(0).optional(text.as_deref());
                    }
                    Err(error) => write_error(&mut frame, error),
                }
                frame.finish()
            }
            Self::Forgotten { steps } => FrameWriter::new(8).number(*steps).finish(),
        }
    }

    /// Reads a report of a run with these bounds.
    ///
    /// # Errors
    /// [`LineError::Malformed`], also where a text is longer than the bounds let it be.
    pub fn decode(frame: &[u8], bounds: &Bounds) -> Result<Self, LineError> {
        let mut frame = FrameReader::new(frame);
        let report = match frame.byte()? {
            1 => Self::Ready,
            2 => Self::Unable(frame.text(TEXT_BYTES_MAX)?),
            3 => Self::Call {
                name: frame.text(NAME_BYTES_MAX)?,
                argument: frame.text(ARGUMENT_BYTES_MAX)?,
            },
            4 => Self::Ended {
                steps: frame.number()?,
                log: frame.text(bounds.log_bytes)?,
                outcome: match frame.byte()? {
                    0 => Ok(Outcome {
                        request_body: frame.optional(bounds.result_bytes)?,
                        response_body: frame.optional(bounds.result_bytes)?,
                    }),
                    tag => Err(read_error(tag, &mut frame)?),
                },
            },
            5 => Self::Checked(read_found(&mut frame)?),
            6 => Self::Loaded(read_found(&mut frame)?),
            7 => Self::Applied(match frame.byte()? {
                0 => Ok(frame.optional(bounds.result_bytes)?),
                tag => Err(read_error(tag, &mut frame)?),
            }),
            8 => Self::Forgotten {
                steps: frame.number()?,
            },
            _ => return Err(LineError::Malformed("a report that isn't known")),
        };
        frame.finish()?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        memory_bytes: 1,
        stack_bytes: 2,
        result_bytes: 5,
        log_bytes: 4,
    };

    fn thrown(number: Option<u32>) -> ScriptError {
        ScriptError::Thrown {
            number,
            message: "m".to_owned(),
            stack: "s".to_owned(),
        }
    }

    fn ended(outcome: Result<Outcome, ScriptError>, log: &str) -> Report {
        Report::Ended {
            outcome,
            log: log.to_owned(),
            steps: 9,
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        let input = Input {
            id: "i".to_owned(),
            source: "s".to_owned(),
            role: Role::PostTrigger,
            self_link: "l".to_owned(),
            alt_link: "a".to_owned(),
            operation_type: Some("Create".to_owned()),
            parameters: "[]".to_owned(),
            request_headers: "{}".to_owned(),
            request_body: None,
            response_body: Some("{}".to_owned()),
        };
        let orders = [
            Order::Run {
                input: Box::new(input),
                bounds: BOUNDS,
            },
            Order::Check {
                source: "s".to_owned(),
                bounds: BOUNDS,
            },
            Order::Reply("r".to_owned()),
            Order::Refusal {
                number: 409,
                body: "there".to_owned(),
            },
            Order::Close,
            Order::Load {
                functions: vec![NamedFunction {
                    id: "f".to_owned(),
                    source: "s".to_owned(),
                }],
                bounds: BOUNDS,
            },
            Order::Apply {
                function: 3,
                arguments: vec![None, Some("1".to_owned())],
            },
            Order::Forget,
        ];
        for order in orders {
            assert_eq!(Order::decode(&order.encode()[4..]), Ok(order));
        }
        let outcome = Outcome {
            request_body: None,
            response_body: Some("12345".to_owned()),
        };
        let call = Report::Call {
            name: "create".to_owned(),
            argument: "{}".to_owned(),
        };
        let reports = [
            Report::Ready,
            Report::Unable("why".to_owned()),
            call,
            ended(Ok(outcome), "1234"),
            ended(Err(thrown(None)), ""),
            ended(Err(thrown(Some(65_535))), ""),
            ended(Err(ScriptError::Stopped), ""),
            Report::Loaded(Ok(())),
            Report::Loaded(Err(thrown(Some(1)))),
            Report::Applied(Ok(None)),
            Report::Applied(Ok(Some("12345".to_owned()))),
            Report::Applied(Err(thrown(None))),
            Report::Forgotten { steps: 7 },
            Report::Checked(Ok(())),
            Report::Checked(Err(ScriptError::Syntax("x".to_owned()))),
            Report::Checked(Err(ScriptError::ResultTooLarge {
                bytes: 2,
                bytes_max: 1,
            })),
        ];
        for report in reports {
            let frame = report.encode();
            assert_eq!(Report::decode(&frame[4..], &BOUNDS), Ok(report));
            for end in 4..frame.len() {
                assert!(Report::decode(&frame[4..end], &BOUNDS).is_err(), "cut at {end}");
            }
            let longer = [&frame[4..], &[0]].concat();
            assert!(Report::decode(&longer, &BOUNDS).is_err());
        }
    }

    #[test]
    fn more_than_the_bounds_is_refused() {
        let with = |response: &str, request: &str| {
            let outcome = Outcome {
                request_body: Some(request.to_owned()),
                response_body: Some(response.to_owned()),
            };
            ended(Ok(outcome), "")
        };
        let name = Report::Call {
            name: "x".repeat(NAME_BYTES_MAX + 1),
            argument: String::new(),
        };
        let argument = Report::Call {
            name: String::new(),
            argument: "x".repeat(ARGUMENT_BYTES_MAX + 1),
        };
        for report in [
            with("123456", ""),
            with("", "123456"),
            ended(Ok(Outcome::default()), "12345"),
            ended(Err(thrown(Some(65_536))), ""),
            Report::Unable("x".repeat(TEXT_BYTES_MAX + 1)),
            name,
            argument,
            Report::Applied(Ok(Some("123456".to_owned()))),
        ] {
            let refused = Report::decode(&report.encode()[4..], &BOUNDS);
            assert!(matches!(refused, Err(LineError::Malformed(_))), "{refused:?}");
        }
    }
}
