//! The binary: arguments, one TLS provider, exit codes.

use std::process::ExitCode;

use hostup_operator::api::crds;
use hostup_operator::app::{self, Failure};
use hostup_operator::args::{self, Args, Command, Run};
use hostup_operator::telemetry::logs;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return refuse(&args::one_line(&error)),
        // The help and the version.
        Err(asked) => asked.exit(),
    };
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
        return refuse("a TLS provider is already installed; this is a bug");
    }
    if let Err(wrong) = logs::start(run.log_format) {
        return refuse(&wrong);
    }
    // It waits most of its time; a second thread costs more, in memory and in waking each other, than it brings.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(app::run(run)),
        Err(error) => Err(Failure::Setup(format!(
            "the operator cannot start its threads: {error}"
        ))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Setup(_)) => refuse(&failure.to_string()),
        Err(failure @ Failure::Deposed(_)) => {
            eprintln!("hostup-operator: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Prints one line that says what to fix.
fn refuse(wrong: &str) -> ExitCode {
    eprintln!("hostup-operator: {wrong}");
    ExitCode::from(2)
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
