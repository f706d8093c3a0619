//! `kubectl hostup`: what waits for a user, and the few steps that only a user may take.
//!
//! It acts with the rights of the user's kubeconfig, and has no rights of its own.

mod approve;
mod ask;
mod backups;
mod call;
mod cluster;
mod completion;
mod failure;
mod hold;
mod ledger;
mod object;
mod output;
mod preview;
mod records;
mod resolve;
mod spend;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cluster::{Cluster, Reach};
use failure::{Failure, Outcome};
use output::{Color, Output};

/// Shows what waits for you in hostup-operator, what it costs and what was paid. With it, you approve prices, answer
/// unknown outcomes and hold purchases.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-hostup",
    bin_name = "kubectl hostup",
    version,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 on success, 1 on an error. `preview` also uses 2 and 3; see its help."
)]
struct Cli {
    #[command(flatten)]
    reach: Reach,
    /// When to use colors. auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Args),
    Approve(approve::Args),
    Preview(preview::Args),
    Resolve(resolve::Args),
    Spend(spend::Args),
    Ledger(ledger::Args),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
    Backups(backups::Args),
    Completion(completion::Args),
    Man(completion::ManArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return usage(&said),
    };
    cli.color.set();
    match run(cli) {
        Ok(status) => ExitCode::from(status),
        // The reader has seen enough, e.g. `head`.
        Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(Failure::Told(words)) => {
            anstream::eprintln!("error: {words}");
            ExitCode::FAILURE
        }
    }
}

/// The help, the version, or what is wrong with the command line. The status 2 of other programs is `preview`'s here.
fn usage(said: &clap::Error) -> ExitCode {
    // If nobody reads it, there is nobody to tell.
    let _printed = said.print();
    if said.use_stderr() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn run(cli: Cli) -> Outcome {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return Err(Failure::told(
            "a TLS provider is already installed; this is a bug",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut output = Output::new();
        match cli.command {
            Command::Completion(args) => completion::script(&args, &mut output),
            Command::Man(args) => completion::man(&args, &mut output),
            command => {
                let cluster = Cluster::reach(&cli.reach).await?;
                on_cluster(command, &cluster, &mut output).await
            }
        }
    })
}

async fn on_cluster(command: Command, cluster: &Cluster, output: &mut Output) -> Outcome {
    match command {
        Command::Status(args) => status::run(&args, cluster, output).await,
        Command::Approve(args) => approve::run(&args, cluster, output).await,
        Command::Preview(args) => preview::run(&args, cluster, output).await,
        Command::Resolve(args) => resolve::run(&args, cluster, output).await,
        Command::Spend(args) => spend::run(&args, cluster, output).await,
        Command::Ledger(args) => ledger::run(&args, cluster, output).await,
        Command::Hold(args) => hold::hold(&args, cluster, output).await,
        Command::Release(args) => hold::release(&args, cluster, output).await,
        Command::Backups(args) => backups::run(&args, cluster, output).await,
        Command::Completion(args) => completion::script(&args, output),
        Command::Man(args) => completion::man(&args, output),
    }
}
