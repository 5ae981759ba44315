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

/// What it could do, of what it must not, and could not, of what it must.
fn could(starter: Pid, port: u16) -> Vec<String> {
    let more = Rlimit {
        current: None,
        maximum: None,
    };
    let memory = |bytes: usize| Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
    [
        ("read a file", std::fs::read("/proc/self/status").is_ok()),
        ("list a folder", std::fs::read_dir("/").is_ok()),
        ("write a file", std::fs::write("/tmp/stabbur-probe", "x").is_ok()),
        ("reach a port", TcpStream::connect(("127.0.0.1", port)).is_ok()),
        ("open a port", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("make a socket", UnixStream::pair().is_ok()),
        ("start a process", Command::new("/bin/true").spawn().is_ok()),
        ("start a thread", std::thread::Builder::new().spawn(|| ()).is_ok()),
        ("see the server", test_kill_process(starter).is_ok()),
        ("stop the server", kill_process(starter, Signal::CONT).is_ok()),
        ("write elsewhere", rustix::io::write(io::stderr(), b"x").is_ok()),
        (
            "write to its input as a file",
            rustix::io::write(io::stdin(), b"x").is_ok(),
        ),
        ("have more descriptors", setrlimit(Resource::Nofile, more).is_ok()),
        ("take a gibibyte", memory(1 << 30)),
        ("only not take what it needs", !memory(100 << 20)),
    ]
    .into_iter()
    .filter(|(_, done)| *done)
    .map(|(what, _)| format!(", but could {what}"))
    .collect()
}
