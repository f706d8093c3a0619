//! Measures the operator beside the least that any client could do, in the same run: a real API server, the
//! simulator in HostUp's place, the release binary, and a bare loop without any safety.
//!
//! `make bench` runs it, and `make bench QUICK=1` in about seven minutes.

mod bare;
mod cluster;
mod contender;
mod error;
mod machine;
mod measure;
mod plan;
mod restores;
mod seed;
mod stage;
mod table;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result, Tried};
use crate::plan::{Plan, Workload};
use crate::workloads::Site;

#[derive(Parser)]
#[command(about = "Measures the operator beside a bare loop")]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// The bare loop; the benchmark starts it itself.
    #[command(hide = true)]
    Bare(bare::Bare),
}

#[derive(clap::Args)]
struct Run {
    /// Small numbers: the whole in about seven minutes.
    #[arg(long)]
    quick: bool,
    /// The operator's release binary.
    #[arg(long, default_value = "target/release/hostup-operator")]
    operator: PathBuf,
    /// Where the table is written; logs stand beside it.
    #[arg(long, default_value = "target/bench.md")]
    out: PathBuf,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Restores of a burst, instead of the plan's.
    #[arg(long, value_delimiter = ',')]
    burst: Vec<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // The clients of both the API server and HostUp take it from here.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("hostup-bench: a TLS provider is already installed; this is a bug");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match args.command {
                Some(Command::Bare(bare)) => bare::run(bare).await,
                None => bench(args.run).await,
            }
        }),
        Err(error) => Err(Error::new("threads cannot be started", error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostup-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(run: Run) -> Result<()> {
    if !run.operator.is_file() {
        return Err(Error::new(
            format!("{} is not there", run.operator.display()),
            "build it with `cargo build --release -p hostup-operator`, or name it with --operator",
        ));
    }
    let mut plan = if run.quick { Plan::quick() } else { Plan::full() };
    if !run.burst.is_empty() {
        plan.bursts = run.burst;
    }
    let logs = run.out.with_extension("logs");
    std::fs::create_dir_all(&logs).tried(|| format!("make the folder {}", logs.display()))?;
    let site = Site {
        operator: run.operator,
        logs,
    };
    let before = machine::noise();
    let mut rows = Vec::new();
    let mut failed = 0;
    for workload in Workload::ALL {
        if run.only.is_empty() || run.only.contains(&workload) {
            let (more, failures) = workloads::run(workload, &site, &plan).await;
            rows.extend(more);
            failed += failures;
        }
    }
    let machine = machine::describe(&site.operator, before, machine::noise());
    let text = table::markdown(&plan, &machine, &rows);
    std::fs::write(&run.out, &text).tried(|| format!("write {}", run.out.display()))?;
    println!("{text}");
    println!("written to {}", run.out.display());
    match failed {
        0 => Ok(()),
        _ => Err(Error::new(
            format!("{failed} runs failed"),
            format!(
                "the lines above say why, and the logs are in {}",
                site.logs.display()
            ),
        )),
    }
}
