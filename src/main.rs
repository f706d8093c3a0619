//! The binary: arguments, one TLS provider, exit codes.

use std::process::ExitCode;

use clap::Parser;
use hostup_operator::api::crds;
use hostup_operator::app::{self, Failure};
use hostup_operator::args::{Args, Command, Run};
use hostup_operator::telemetry::logs;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Some(Command::Crds) => print_crds(),
        Some(Command::Run(run)) => operate(*run),
        None => operate(args.run),
    }
}

fn operate(run: Run) -> ExitCode {
    // Two providers in one process would make every TLS client panic.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("hostup-operator: a TLS provider is already installed; this is a bug");
        return ExitCode::from(2);
    }
    logs::start(run.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(app::run(run)),
        Err(error) => Err(Failure::Setup(format!("no threads can be started: {error}"))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hostup-operator: {failure}");
            ExitCode::from(if matches!(failure, Failure::Setup(_)) {
                2
            } else {
                1
            })
        }
    }
}

fn print_crds() -> ExitCode {
    for (_, crd) in crds::all() {
        match crds::to_yaml(&crd) {
            Ok(yaml) => print!("---\n{yaml}"),
            Err(error) => {
                eprintln!("hostup-operator: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
