//! Text from outside, made safe to store and to show.

use std::fmt;

/// Text that is bounded and printable, whatever it was made from.
///
/// Control characters, escape sequences and direction marks are replaced by one blank.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Most characters that a text from the provider keeps.
    pub const LIMIT: usize = 300;

    /// Bounds `raw` to [`Text::LIMIT`] characters and makes it printable.
    pub fn new(raw: &str) -> Self {
        Self::bounded(raw, Self::LIMIT)
    }

    /// As [`Text::new`] with a limit of its own, in characters.
    pub fn bounded(raw: &str, limit: usize) -> Self {
        let mut text = String::with_capacity(raw.len().min(limit));
        let mut count = 0;
        // The input is cut before it is looked at: a 5 MB body costs no more than a long line.
        for c in raw.chars().take(limit.saturating_mul(4)) {
            let c = if printable(c) { c } else { ' ' };
            if c == ' ' && (text.is_empty() || text.ends_with(' ')) {
                continue;
            }
            if count == limit {
                text.pop();
                text.push('…');
                break;
            }
            text.push(c);
            count += 1;
        }
        Self(text.trim_end().to_owned())
    }

    /// The safe text without the stops at its end, to stand inside a sentence.
    pub fn as_clause(&self) -> &str {
        clause(&self.0)
    }

    /// The safe text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Neither a control, a blank of another kind, nor one of the characters that Unicode calls "format":
/// they turn the direction of what follows, or hide in it.
fn printable(c: char) -> bool {
    let format = matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !c.is_whitespace() && !format
}

/// A text without the stops at its end, to stand inside a sentence.
pub fn clause(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_whitespace() || ".,;:!?".contains(c))
}

/// The first `most` of several parts of a message, and how many more there are: a condition's message has
/// a limit, and a person reads the first of many anyway.
pub fn first_of(parts: &[String], most: usize) -> String {
    let shown: Vec<&str> = parts.iter().take(most).map(String::as_str).collect();
    let shown = shown.join("; ");
    match parts.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Text {
    fn from(raw: &str) -> Self {
        Self::new(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_sequence_and_a_line_break_become_blanks() {
        assert_eq!(Text::new("a\u{1b}[31mb\r\n\u{202e}c").as_str(), "a [31mb c");
        assert_eq!(Text::new("a\u{61c}b\u{ad}c\u{e0041}d").as_str(), "a b c d");
    }

    #[test]
    fn a_clause_ends_without_a_stop() {
        for text in ["no", "no.", "no...", "no. ", "no;", "no!?", "no:. "] {
            assert_eq!(Text::new(text).as_clause(), "no");
        }
        assert_eq!(clause("v1.2 is not 3.4"), "v1.2 is not 3.4");
        assert_eq!(clause("..."), "");
    }

    #[test]
    fn of_many_parts_the_first_are_told_and_the_rest_are_counted() {
        let parts = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(first_of(&parts, 3), "a; b; c");
        assert_eq!(first_of(&parts, 2), "a; b; and 1 more");
        assert_eq!(first_of(&[], 2), "");
    }

    proptest! {
        #[test]
        fn any_text_comes_out_bounded_and_printable(raw in any::<String>(), limit in 1usize..50) {
            let text = Text::bounded(&raw, limit);
            prop_assert!(text.as_str().chars().count() <= limit);
            prop_assert!(text.as_str().chars().all(|c| c == ' ' || printable(c)));
        }
    }
}
