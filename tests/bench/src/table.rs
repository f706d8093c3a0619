//! The table: one row for each figure.

use std::time::Duration;

use crate::contender::Contender;
use crate::plan::Plan;

/// How a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// A number of something.
    Count,
    /// A coefficient.
    Coefficient,
    /// Megabytes.
    Megabytes,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 10.0 => format!("{value:.2} s"),
            Self::Seconds => format!("{value:.1} s"),
            Self::Millis if value >= 1000.0 => format!("{:.2} s", value / 1000.0),
            Self::Millis => format!("{value:.1} ms"),
            Self::Count if value.fract() == 0.0 => format!("{value}"),
            Self::Count => format!("{value:.2}"),
            Self::Coefficient => format!("{value:.3}"),
            Self::Megabytes => format!("{value:.1} MB"),
        }
    }

    /// A duration in this unit.
    pub fn of(self, duration: Duration) -> f64 {
        match self {
            Self::Millis => duration.as_secs_f64() * 1000.0,
            Self::Seconds | Self::Count | Self::Coefficient | Self::Megabytes => duration.as_secs_f64(),
        }
    }
}

/// One figure of one contender.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// What was measured.
    Value(f64),
    /// It had not come to its end when the time was up.
    Unfinished {
        /// The time that it was given, in the row's unit.
        after: f64,
        /// How many were done.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// It was not, or could not be, measured.
    Missing,
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, Self::Value)
    }
}

impl Cell {
    fn write(self, unit: Unit) -> String {
        match self {
            Self::Value(value) => unit.write(value),
            Self::Unfinished { after, done, of } => {
                format!("{done} of {of} in {}", unit.write(after))
            }
            Self::Missing => "-".to_owned(),
        }
    }
}

/// What the issue asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// No more than that.
    AtMost(f64),
    /// No less than that.
    AtLeast(f64),
    /// No more than so many times what the bare loop takes.
    TimesBare(f64),
}

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    figure: String,
    unit: Unit,
    bare: Cell,
    operator: Cell,
    target: Option<Target>,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        match (self.bare, self.operator) {
            // A coefficient has an end; how many times nearer one is to it says nothing.
            _ if self.unit == Unit::Coefficient => None,
            (Cell::Value(bare), Cell::Value(operator)) if bare > 0.0 => Some(operator / bare),
            _ => None,
        }
    }

    fn target(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::AtMost(most)) => format!("<= {}", self.unit.write(most)),
            Some(Target::AtLeast(least)) => format!(">= {}", self.unit.write(least)),
            Some(Target::TimesBare(times)) => format!("<= {times} x bare"),
        }
    }

    fn met(&self) -> &'static str {
        let Some(target) = self.target else {
            return "";
        };
        let operator = match self.operator {
            Cell::Value(value) => value,
            Cell::Unfinished { .. } => return "no",
            Cell::Missing => return "?",
        };
        let met = match target {
            Target::AtMost(most) => operator <= most,
            Target::AtLeast(least) => operator >= least,
            Target::TimesBare(times) => match self.ratio() {
                Some(ratio) => ratio <= times,
                None => return "?",
            },
        };
        if met { "yes" } else { "no" }
    }

    fn markdown(&self) -> String {
        let ratio = self.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}"));
        format!(
            "| {} | {} | {} | {ratio} | {} | {} |\n",
            self.figure,
            self.bare.write(self.unit),
            self.operator.write(self.unit),
            self.target(),
            self.met(),
        )
    }
}

/// What both contenders came to in one workload; none for one that failed or did not take part.
#[derive(Debug)]
pub struct Pair<F> {
    /// The bare loop.
    pub bare: Option<F>,
    /// The operator.
    pub operator: Option<F>,
}

impl<F> Pair<F> {
    /// One row of these figures.
    pub fn row(
        &self,
        figure: impl Into<String>,
        unit: Unit,
        take: impl Fn(&F) -> Cell,
        target: impl Into<Option<Target>>,
    ) -> Row {
        let of = |figures: &Option<F>| figures.as_ref().map_or(Cell::Missing, &take);
        Row {
            figure: figure.into(),
            unit,
            bare: of(&self.bare),
            operator: of(&self.operator),
            target: target.into(),
        }
    }

    /// Puts the figures of a contender into their place.
    pub fn put(&mut self, who: Contender, figures: F) {
        match who {
            Contender::Bare => self.bare = Some(figures),
            Contender::Operator => self.operator = Some(figures),
        }
    }
}

/// How each figure is taken, for the reader of the table.
const HOW: &str = "\
How it is taken:

- *bare* is a loop of five writes and two calls without any safety. It keeps nothing and is told how long a job takes and
  what the limit is. Both contenders are processes of their own, under the shipped rights, each on a fresh control plane.
  The operator runs with its defaults, but for the address of HostUp, `--max-paid-calls=0` and a loopback `--listen`.
  A job takes 5 s.
- *a restore* divides by the restores that were done. Where not all were done in time, the cell of the wall time says so.
- Calls are those in the simulator's log, whatever was answered. Requests and writes are those in the API server's
  audit log that bear the contender's name, without events; of Secrets, Leases and our own kinds.
- CPU is user and system time in `/proc/<pid>/stat`, from before the first restore is made until the last is done.
- Memory is `Pss` in `/proc/<pid>/smaps_rollup`: idle 3 s after the process is ready, done 3 s after the last is done.
- Order is Spearman's rank correlation of the order of the POSTs and that of the first resourceVersions, of
  each key; the mean of all keys.
- create -> POST begins when the API server has answered the create, and ends when the simulator has the whole request.
- Fairness is Jain's index of the calls that were served for each object of an account, at the end or when the time is up.
- A call is inside a Retry-After if the simulator has it more than 20 ms after it answered a 429
  with that key, and before the time asked for.
";

/// The whole as Markdown.
pub fn markdown(plan: &Plan, machine: &str, rows: &[Row]) -> String {
    let mut text = format!("# make bench, {}\n\n{machine}\n", plan.name);
    text.push_str("| figure | bare | operator | ratio | target | met |\n|---|---|---|---|---|---|\n");
    text.extend(rows.iter().map(Row::markdown));
    text.push('\n');
    text.push_str(HOW);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bare: Cell, operator: Cell, target: Target) -> Row {
        let pair = Pair {
            bare: Some(bare),
            operator: Some(operator),
        };
        pair.row("wall", Unit::Seconds, |cell| *cell, target)
    }

    #[test]
    fn a_target_is_met_only_by_what_was_measured() {
        let (one, two) = (Cell::Value(1.0), Cell::Value(2.0));
        let unfinished = Cell::Unfinished {
            after: 1.0,
            done: 1,
            of: 2,
        };
        for (bare, operator, target, met) in [
            (one, two, Target::AtMost(2.0), "yes"),
            (one, two, Target::AtMost(1.9), "no"),
            (one, two, Target::AtLeast(2.1), "no"),
            (one, two, Target::TimesBare(2.0), "yes"),
            (one, two, Target::TimesBare(1.6), "no"),
            (Cell::Missing, two, Target::TimesBare(1.6), "?"),
            (one, unfinished, Target::AtMost(5.0), "no"),
            (one, Cell::Missing, Target::AtMost(5.0), "?"),
        ] {
            assert_eq!(row(bare, operator, target).met(), met, "{operator:?} {target:?}");
        }
    }

    #[test]
    fn a_row_names_what_was_not_done() {
        let unfinished = Cell::Unfinished {
            after: 75.0,
            done: 45,
            of: 105,
        };
        let row = row(Cell::Value(6.0), unfinished, Target::TimesBare(1.6));
        assert_eq!(
            row.markdown(),
            "| wall | 6.00 s | 45 of 105 in 75.0 s |  | <= 1.6 x bare | no |\n"
        );
    }
}
