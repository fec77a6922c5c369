//! One figure, and where it goes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Environment variable with the file that figures are appended to.
pub const SINK: &str = "SIGNET_BENCH_FIGURES";

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

impl Aim {
    /// Whether a value is as it should be. What is no number never is.
    pub fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥{least}"),
            Self::AtMost(most) => write!(f, "≤{most}"),
        }
    }
}

/// A number that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Of which bench.
    pub bench: String,
    /// What was measured.
    pub what: String,
    /// How much; none where nothing could be measured.
    pub value: Option<f64>,
    /// Of what.
    pub unit: String,
    /// What it should be, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aim: Option<Aim>,
    /// Whether it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
}

/// Takes the figures of a bench.
#[derive(Debug, Clone)]
pub struct Figures {
    bench: String,
    sink: Option<PathBuf>,
}

impl Figures {
    /// Of this bench. They go where the environment says.
    pub fn of(bench: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            sink: std::env::var_os(SINK).map(Into::into),
        }
    }

    /// Of this bench, appended to that file.
    pub fn kept_in(sink: &Path, bench: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            sink: Some(sink.to_owned()),
        }
    }

    /// Prints one, and hands it on.
    pub fn line(&self, what: &str, value: f64, unit: &str, aim: Option<Aim>) {
        let judged = aim.map(|aim| {
            let met = if aim.met(value) { "met" } else { "NOT MET" };
            format!("   aim {aim}: {met}")
        });
        println!("{what:<74} {value:>10.2} {unit}{}", judged.unwrap_or_default());
        self.record(what, value, unit, aim);
    }

    /// Hands one on that is printed otherwise.
    pub fn record(&self, what: &str, value: f64, unit: &str, aim: Option<Aim>) {
        let Some(sink) = &self.sink else {
            return;
        };
        let figure = Figure {
            bench: self.bench.clone(),
            what: what.to_owned(),
            value: value.is_finite().then_some(value),
            unit: unit.to_owned(),
            aim,
            met: aim.map(|aim| aim.met(value)),
        };
        let written = serde_json::to_string(&figure)
            .map_err(std::io::Error::other)
            .and_then(|line| {
                let mut file = OpenOptions::new().create(true).append(true).open(sink)?;
                file.write_all(format!("{line}\n").as_bytes())
            });
        if let Err(error) = written {
            println!("{}: the figure is not kept: {error}", sink.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_at_its_edge_and_never_by_what_is_no_number() {
        assert!(Aim::AtLeast(10.0).met(10.0) && !Aim::AtLeast(10.0).met(9.9));
        assert!(Aim::AtMost(10.0).met(10.0) && !Aim::AtMost(10.0).met(10.1));
        assert!(!Aim::AtMost(10.0).met(f64::NAN) && !Aim::AtLeast(10.0).met(f64::NAN));
    }

    #[test]
    fn a_figure_is_read_as_it_was_written() {
        let figure = Figure {
            bench: "issue".to_owned(),
            what: "certificates".to_owned(),
            value: Some(1.5),
            unit: "per second".to_owned(),
            aim: Some(Aim::AtLeast(1.0)),
            met: Some(true),
        };
        let text = serde_json::to_string(&figure).unwrap_or_default();
        assert!(text.contains(r#""aim":{"at_least":1.0}"#), "{text}");
        assert_eq!(serde_json::from_str::<Figure>(&text).ok(), Some(figure));
    }
}
