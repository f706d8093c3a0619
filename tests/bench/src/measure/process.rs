//! CPU time and memory of a process, as the kernel counts them.

use std::time::Duration;

use crate::error::{Error, Result, Tried};
use crate::stage::Stage;

/// Linux counts the times in /proc in hundredths of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// CPU time since the start of a process: user and system.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).tried(|| format!("read {path}"))?;
    ticks(&text)
        .map(|ticks| TICK * ticks)
        .ok_or_else(|| Error::new(format!("{path} cannot be understood"), text))
}

/// The name may hold blanks and parentheses; `utime` and `stime` are the 12th and 13th word after it.
fn ticks(stat: &str) -> Option<u32> {
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(words.get(11)?.parse::<u32>().ok()? + words.get(12)?.parse::<u32>().ok()?)
}

/// CPU time of the API server and etcd together.
pub fn cpu_of_servers(stage: &Stage) -> Result<Duration> {
    let pids = stage.plane.pids();
    let servers = [pids.apiserver, pids.etcd].into_iter().flatten();
    servers.map(cpu).sum()
}

/// Memory of a process in MB: its own pages, and its share of those that it shares (PSS).
pub fn memory(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).tried(|| format!("read {path}"))?;
    pss(&text).ok_or_else(|| Error::new(format!("{path} has no line Pss"), text))
}

fn pss(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_moves_no_column() {
        let stat = "4711 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 4 0 900";
        assert_eq!(ticks(stat), Some(150));
    }

    #[test]
    fn the_share_of_pages_is_told_from_its_parts() {
        let rollup = "00400000-7ffd r\nRss:  9000 kB\nPss:  5120 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(pss(rollup), Some(5.0));
    }
}
