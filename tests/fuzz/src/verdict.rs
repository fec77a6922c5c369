//! What a parser made of an input.

use std::fmt::Debug;

/// Longest reason, characters.
const LONGEST: usize = 96;

/// What a parser made of an input: accepted, or refused for a reason.
///
/// A reason is the `Debug` of an error without what it quotes: names of variants, which say how far the input got. An input
/// with a new one is mutated further, as one is that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(Option<String>);

impl Verdict {
    pub(crate) fn is_accepted(&self) -> bool {
        self.0.is_none()
    }

    /// Why it was refused; empty where nothing was said.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        Self((!accepted).then(String::new))
    }
}

/// Why an input was refused. Any error turns into it by `?`.
pub struct Refused(String);

// Refused itself has no Debug, so that this is no second way to make it of itself.
impl<E: Debug> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(names(&format!("{error:?}")))
    }
}

impl<T> From<Result<T, Refused>> for Verdict {
    fn from(result: Result<T, Refused>) -> Self {
        Self(result.err().map(|Refused(reason)| reason))
    }
}

/// Names of variants and fields alone.
fn names(debug: &str) -> String {
    // Every second part is quoted; a quote inside is escaped, and begins and ends nothing.
    let unescaped = debug.replace("\\\\", "").replace("\\\"", "");
    let outside = unescaped.split('"').step_by(2).collect::<String>();
    let is_name = |c: char| c.is_ascii_alphabetic() || c == '(' || c == '{';
    outside.chars().filter(|c| is_name(*c)).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    enum Error {
        #[expect(dead_code, reason = "its Debug reads them")]
        Long {
            length: usize,
            of: &'static str,
        },
        Empty,
    }

    fn reason(error: Error) -> String {
        let refused = || -> Result<(), Refused> { Err(error)? };
        Verdict::from(refused()).reason().unwrap_or("accepted").to_owned()
    }

    #[test]
    fn a_reason_is_which_error_and_not_what_it_quotes() {
        let long = |length, of| reason(Error::Long { length, of });
        assert_eq!(long(7, "x"), long(8, "a \"quoted\" Text \\"));
        assert_ne!(long(7, "x"), reason(Error::Empty));
        assert!(Verdict::from(Ok::<_, Refused>(1)).is_accepted());
        assert!(Verdict::from(true).is_accepted() && !Verdict::from(false).is_accepted());
    }
}
