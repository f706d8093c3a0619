//! `hostup-sim --listen 127.0.0.1:PORT [--key KEY]`: a demonstration world with
//! one account, one VPS with one backup, and the admin API under `/_sim/`.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use hostup_sim::{Backup, SOURCE_VPS, Sim};

const USAGE: &str = "usage: hostup-sim [--listen 127.0.0.1:PORT] [--key KEY]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut listen: SocketAddr = "127.0.0.1:8787".parse()?;
    let mut key = "demo-key".to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(());
            }
            "--listen" => listen = arguments.next().ok_or(USAGE)?.parse()?,
            "--key" => key = arguments.next().ok_or(USAGE)?,
            other => return Err(format!("unknown argument {other}; {USAGE}").into()),
        }
    }
    let sim = Sim::start_on(listen)?;
    sim.world(|world| {
        world.admin = true;
        world.restore.job_duration = Duration::from_secs(8);
        world.restore.progress_steps = 8;
        world.restore.vm_visible_after = Duration::from_secs(1);
        world.restore.running_after = Some(Duration::from_secs(9));
        world.overwrite.job_duration = Duration::from_secs(8);
        world.overwrite.progress_steps = 8;
        world.backup.job_duration = Duration::from_secs(8);
        world.backup.progress_steps = 8;
        world.add_account(&key);
        world.add_backup(
            SOURCE_VPS,
            Backup::new("bkp_01hxb7c8d9e0f1g2h3j4k5m6n7", "12.9").created(Some("2026-05-04T10:00:00.000Z")),
        );
    });
    println!("hostup-sim on {} (admin API: {}/_sim/)", sim.url(), sim.url());
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
