//! Confines itself as a worker does, then tries what it must not be able to do, and tells its
//! standard input, a socket, what it could do after all. Then it waits to be looked at.
//!
//! Its arguments: the process that started it, and a port that somebody listens on.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit, test_kill_process};

fn main() -> ExitCode {
    let numbers: Vec<i32> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let [starter, port] = numbers.as_slice() else {
        return ExitCode::FAILURE;
    };
    let (Some(starter), Ok(port)) = (Pid::from_raw(*starter), u16::try_from(*port)) else {
        return ExitCode::FAILURE;
    };
    let told = match scripts::confine() {
        Err(why) => format!("not confined: {why}"),
        Ok(()) => format!("confined{}", could(starter, port).concat()),
    };
    let told = send(io::stdin(), told.as_bytes(), SendFlags::NOSIGNAL);
    // Until the other end closes.
    let ended = recv(io::stdin(), &mut [0], RecvFlags::empty());
    if told.is_ok() && ended.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the filter lets a call through: what a bound of the process refuses isn't refused by it.
fn passes<T, E: Into<io::Error>>(outcome: Result<T, E>) -> bool {
    let refused = |error: E| error.into().kind() == io::ErrorKind::PermissionDenied;
    !outcome.is_err_and(refused)
}

/// What it could do, of what it must not, and could not, of what it must.
fn could(starter: Pid, port: u16) -> Vec<String> {
    let more = Rlimit {
        current: None,
        maximum: None,
    };
    let memory = |bytes: usize| Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
    let sent = send(io::stdin(), b"x", SendFlags::NOSIGNAL | SendFlags::OOB);
    let looked = recv(io::stdin(), &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    [
        ("read a file", passes(std::fs::read("/proc/self/status"))),
        ("list a folder", passes(std::fs::read_dir("/"))),
        ("write a file", passes(std::fs::write("/tmp/stabbur-probe", "x"))),
        ("reach a port", passes(TcpStream::connect(("127.0.0.1", port)))),
        ("open a port", passes(UdpSocket::bind("127.0.0.1:0"))),
        ("make a socket", passes(UnixStream::pair())),
        ("start a process", passes(Command::new("/bin/true").spawn())),
        ("start a thread", std::thread::Builder::new().spawn(|| ()).is_ok()),
        ("see the server", passes(test_kill_process(starter))),
        ("stop the server", passes(kill_process(starter, Signal::CONT))),
        ("write elsewhere", passes(rustix::io::write(io::stderr(), b"x"))),
        (
            "write to its input as a file",
            passes(rustix::io::write(io::stdin(), b"x")),
        ),
        ("send out of band", passes(sent)),
        ("look without reading", passes(looked)),
        ("have more descriptors", passes(setrlimit(Resource::Nofile, more))),
        ("take a gibibyte", memory(1 << 30)),
        ("only not take what it needs", !memory(100 << 20)),
    ]
    .into_iter()
    .filter(|(_, done)| *done)
    .map(|(what, _)| format!(", but could {what}"))
    .collect()
}
