//! What a worker gives up before it runs anything, for good: descriptors, memory beyond a bound,
//! processor time beyond a bound, and all of the kernel but what computing takes.
//!
//! Invariant: who takes a worker over, through a flaw of the engine, holds the one socket to the
//! server and can reach nothing else: no file, no network, no process, not the server's memory
//! though it runs as the same user. If the kernel doesn't grant that, nothing is run.

use std::collections::BTreeMap;

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// Address space beyond what the program has at its start, bytes: the engine's memory, and the
/// largest frames several times over.
const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Processor time in a worker's life, seconds. Whoever starts workers must let each go before it has
/// used that much.
pub const PROCESSOR_SECONDS_MAX: u64 = 60;

/// Confines this process, which has but one thread and holds nothing beyond the standard three
/// descriptors; there is no way back.
///
/// # Errors
/// What the kernel doesn't grant, for people.
pub fn confine() -> Result<(), String> {
    close_inherited();
    stay_until_told();
    // The kernel then ends this process rather than the server when the machine has no memory left.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let own_bytes = address_space_bytes()?;
    for (resource, most) in [
        (Resource::As, own_bytes.saturating_add(MEMORY_BYTES_MAX)),
        (Resource::Cpu, PROCESSOR_SECONDS_MAX),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|error| format!("setrlimit {resource:?}: {error}"))?;
    }
    let filter = filter().map_err(|error| format!("the filter of system calls: {error}"))?;
    // Also sets no_new_privs.
    apply_filter_all_threads(&filter).map_err(|error| format!("the filter of system calls: {error}"))
}

/// What the server's own starter may have left open; the server's own descriptors don't get here.
#[allow(unsafe_code, reason = "there is no safe way to close what nothing owns")]
fn close_inherited() {
    // SAFETY: the process has just begun and runs this one thread; nothing in it holds a descriptor
    // beyond the standard three.
    // Kernels before 5.9 refuse; the filter then lets nothing be done with what stays open.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Signals that end a server are sent to all of its processes at once, while it finishes what it had
/// accepted: this process ends when the server closes its socket, or kills it.
#[allow(unsafe_code, reason = "there is no safe way to ignore a signal")]
fn stay_until_told() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: no handler of this program's is set, and none is replaced.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn address_space_bytes() -> Result<u64, String> {
    let path = "/proc/self/statm";
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let pages = text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| format!("{path} has no size"))?;
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Lets through what computing takes, and reading and writing the standard input; all else is
/// answered EPERM.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let is = |argument: u8, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    let without = |argument: u8, bits: u64| {
        let operator = SeccompCmpOp::MaskedEq(bits);
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, 0)
    };
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let anonymous = u64::from(libc::MAP_ANONYMOUS.unsigned_abs());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    // An empty list lets every call of that number through.
    for call in [
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_sched_yield,
        libc::SYS_getpid,
        libc::SYS_gettid,
    ] {
        rules.insert(call, Vec::new());
    }
    // Other advice takes pages out of the machine's use, if the server's user may.
    let advice = [
        libc::MADV_DONTNEED,
        libc::MADV_FREE,
        libc::MADV_HUGEPAGE,
        libc::MADV_NOHUGEPAGE,
    ];
    let advice = advice.map(|advice| SeccompRule::new(vec![is(2, u64::from(advice.unsigned_abs()))?]));
    rules.insert(libc::SYS_madvise, advice.into_iter().collect::<Result<_, _>>()?);
    // Only the flags that are used: others reach parts of the kernel that hardly anybody does.
    let standard_input = 0;
    let others = u64::from(!libc::MSG_DONTWAIT.unsigned_abs());
    rules.insert(
        libc::SYS_recvfrom,
        vec![SeccompRule::new(vec![
            is(0, standard_input)?,
            without(3, others)?,
        ])?],
    );
    // With no address: the socket's other end is the server.
    let flags = u64::from(libc::MSG_NOSIGNAL.unsigned_abs());
    let send = vec![is(0, standard_input)?, is(3, flags)?, is(5, 0)?];
    rules.insert(libc::SYS_sendto, vec![SeccompRule::new(send)?]);
    let map = vec![
        without(2, executable)?,
        SeccompCondition::new(
            3,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(anonymous),
            anonymous,
        )?,
    ];
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(map)?]);
    rules.insert(
        libc::SYS_mprotect,
        vec![SeccompRule::new(vec![without(2, executable)?])?],
    );
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?.try_into()
}
