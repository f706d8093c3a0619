//! Questions on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Whether somebody can be asked: input and messages are on a terminal.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line. The end of the input is an empty line.
pub fn line(question: &str) -> Result<String, Failure> {
    let mut terminal = anstream::stderr();
    write!(terminal, "{question} ")?;
    terminal.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        writeln!(terminal)?;
    }
    Ok(answer.trim().to_owned())
}

/// Asks for a yes. Anything else is a no.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    let answer = line(&format!("{question} [y/N]"))?;
    Ok(["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()))
}
