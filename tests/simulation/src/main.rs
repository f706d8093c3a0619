//! `simulate --seed N` tells one life; `simulate --lives N` lives many and counts.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::life::{Ended, live};
use simulation::many::{Many, live_many};

#[derive(Parser)]
#[command(about = "Lives of the whole operator, in virtual time")]
struct Args {
    /// The seed of one life, or of the first of many.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many lives; without it the one life is told.
    #[arg(long)]
    lives: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.lives {
        None => tell(args.seed),
        Some(lives) => count(args.seed, lives),
    }
}

fn tell(seed: u64) -> ExitCode {
    let ended = live(seed, true);
    for line in &ended.story {
        println!("{line}");
    }
    println!(
        "seed {seed}: {} purchases, {} questions, {} s, trace {}",
        ended.purchases,
        ended.questions,
        ended.lasted.as_secs(),
        ended.digest
    );
    judged(&ended)
}

fn judged(ended: &Ended) -> ExitCode {
    for wrong in &ended.wrong {
        println!("WRONG (seed {}): {wrong}", ended.seed);
    }
    if ended.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn count(first: u64, lives: u64) -> ExitCode {
    let started = Instant::now();
    let Many {
        lives,
        bad,
        purchases,
        executed,
        questions,
        needless,
        unknowing,
        met,
    } = live_many(first, lives, |ended| {
        judged(ended);
    });
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{lives} lives in {seconds:.0} s: {purchases} purchases, {questions} questions, {needless} of them needless, {unknowing} calls that nobody could stop, {} bad lives",
        bad.len()
    );
    for (kind, times) in executed {
        println!("{kind:<36} {times:>9}");
    }
    for line in met.table() {
        println!("{line}");
    }
    let missed = met.missed(lives);
    for missed in &missed {
        println!("MISSED: {missed}");
    }
    if bad.is_empty() && missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
