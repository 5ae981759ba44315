//! What a process that runs scripts can't do any more, tried by one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

/// A started probe, and what it said of itself.
fn probe(port: u16) -> (Child, UnixStream, String) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_scripts-probe"))
        .args([std::process::id().to_string(), port.to_string()])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    ours.set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let mut said = vec![0; 4096];
    let bytes = ours.read(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..bytes]).into_owned();
    (child, ours, said)
}

#[test]
fn a_confined_process_reaches_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // A descriptor that its starter left open for whoever comes.
    let left_open = rustix::io::fcntl_dupfd_cloexec(listener.as_fd(), 100).unwrap();
    rustix::io::fcntl_setfd(&left_open, rustix::io::FdFlags::empty()).unwrap();
    let (mut child, line, said) = probe(listener.local_addr().unwrap().port());
    assert_eq!(said, "confined");

    let of = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let fields = |text: String, name: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned();
        let fields = line[name.len()..].split_whitespace();
        fields.map(str::to_owned).collect()
    };
    assert_eq!(fields(of("status"), "NoNewPrivs:"), ["1"]);
    assert_eq!(
        fields(of("status"), "Seccomp:"),
        ["2"],
        "a filter of system calls"
    );
    assert_eq!(fields(of("status"), "Threads:"), ["1"]);
    assert_eq!(of("oom_score_adj").trim(), "1000");
    for (name, most) in [
        ("Max cpu time", scripts::PROCESSOR_SECONDS_MAX.to_string()),
        ("Max open files", "0".to_owned()),
        ("Max processes", "0".to_owned()),
        ("Max file size", "0".to_owned()),
        ("Max core file size", "0".to_owned()),
    ] {
        assert_eq!(fields(of("limits"), name)[..2], [most.clone(), most], "{name}");
    }
    let mut open: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", child.id()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    // What ends the server doesn't end it: that does.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    drop(line);
    assert!(child.wait().unwrap().success());
}
