//! Completions for shells, and the man page.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::{DONE, Failure, Outcome};
use crate::output::Output;

/// Print the completions of kubectl-hostup for a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

/// Print a man page: of the plugin, or of one command.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The command.
    command: Option<String>,
}

/// Runs `completion`.
pub fn script(args: &Args, output: &mut Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::Cli::command(),
        "kubectl-hostup",
        &mut script,
    );
    output.bytes(&script)?;
    Ok(DONE)
}

/// Runs `man`.
pub fn man(args: &ManArgs, output: &mut Output) -> Outcome {
    let mut whole = crate::Cli::command();
    whole.build();
    let command = match &args.command {
        None => Some(&whole),
        Some(name) => whole.find_subcommand(name),
    };
    let command =
        command.ok_or_else(|| Failure::told("there is no such command; see kubectl hostup --help"))?;
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    output.bytes(&page)?;
    Ok(DONE)
}
