//! Processes and all their children: the processor time, memory and disk they use, and their pauses.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Linux counts processor time in hundredths of a second towards programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often and how long a store is watched until its folder doesn't change any more.
const QUIET_SECONDS: u32 = 5;
const QUIET_SECONDS_MAX: u32 = 180;

/// A reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time since the processes began, in seconds.
    pub cpu_seconds: f64,
    /// Memory: the sum of proportional set sizes, so that memory shared by PostgreSQL's processes is
    /// counted once.
    pub memory_bytes: u64,
}

/// Reads it now.
pub fn usage(pids: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for id in with_children(pids)? {
        // A child may have ended since it was listed.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        let rest = stat.rsplit_once(')').context("/proc/*/stat")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| {
            fields
                .get(index)
                .and_then(|f| f.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        sum.cpu_seconds += (ticks(11) + ticks(12)) / TICKS_PER_SECOND;
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        let pss = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .unwrap_or_default();
        let kibibytes: u64 = pss
            .split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        sum.memory_bytes += kibibytes * 1024;
    }
    Ok(sum)
}

/// Forgets the highest memory so far.
pub fn reset_peak(pids: &[u32]) -> Result<()> {
    for pid in pids {
        let path = format!("/proc/{pid}/clear_refs");
        std::fs::write(&path, "5").with_context(|| format!("can't write {path}"))?;
    }
    Ok(())
}

/// The most that was resident since [`reset_peak`], of processes without children.
pub fn peak_bytes(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes: u64 = peak
            .and_then(|peak| peak.split_whitespace().next())
            .context("VmHWM")?
            .parse()?;
        sum += kibibytes * 1024;
    }
    Ok(sum)
}

/// Bytes that the files of a folder take on disk: what was set aside in them and never written isn't
/// counted.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("can't list {}", folder.display()))?;
        for entry in entries {
            // A file may go while it is looked at.
            let Ok(metadata) = entry
                .as_ref()
                .map_err(drop)
                .and_then(|e| e.metadata().map_err(drop))
            else {
                continue;
            };
            if metadata.is_dir() {
                folders.extend(entry.map(|entry| entry.path()));
            } else {
                sum += metadata.blocks() * 512;
            }
        }
    }
    Ok(sum)
}

/// Waits until a folder's size stays the same.
pub async fn quiet(folder: &Path) -> Result<()> {
    let (mut bytes, mut same) = (0, 0);
    for _ in 0..QUIET_SECONDS_MAX {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = folder_bytes(folder)?;
        same = if now == bytes { same + 1 } else { 0 };
        bytes = now;
        if same == QUIET_SECONDS {
            break;
        }
    }
    Ok(())
}

/// Processes and all their children that are stopped until this is dropped, also if what was measured
/// meanwhile failed: who is stopped can't be ended in order.
pub struct Paused<'p>(&'p [u32]);

impl<'p> Paused<'p> {
    pub fn new(pids: &'p [u32]) -> Result<Self> {
        let paused = Self(pids);
        // Parents first, then again what they may have begun in between.
        signal("-STOP", pids)?;
        signal("-STOP", &with_children(pids)?)?;
        Ok(paused)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let pids = with_children(self.0).unwrap_or_else(|_| self.0.to_vec());
        let _ = signal("-CONT", &pids);
    }
}

fn signal(signal: &str, pids: &[u32]) -> Result<()> {
    // A child that has ended in between is no fault, so what `kill` answers isn't looked at.
    std::process::Command::new("kill")
        .arg(signal)
        .args(pids.iter().map(u32::to_string))
        .stderr(std::process::Stdio::null())
        .status()
        .context("kill")?;
    Ok(())
}

fn with_children(pids: &[u32]) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.push((id, parent.unwrap_or(0)));
    }
    let mut family = pids.to_vec();
    let mut at = 0;
    while let Some(&member) = family.get(at) {
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == member)
                .map(|(id, _)| *id),
        );
        at += 1;
    }
    Ok(family)
}
