//! Logging set-up shared by the daemons: one line an event on standard error, as text or as JSON.

mod throttle;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub use throttle::Throttle;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no log format; use `text` or `json`")),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter `{filter}` is not of the form `level` or `module=level,...`")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
}

/// Sets up logging for the whole process. `filter` is in `tracing`'s directive syntax; without it, INFO and above.
/// Each line carries the daemon's name. A second call changes nothing.
///
/// # Errors
/// The filter does not parse.
pub fn init(daemon: &'static str, format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let filter = parse_filter(filter.unwrap_or("info"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log file is read with `less` and `grep`: no colour in it.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A test harness may have set a subscriber already; its choice stands.
    let _already_set = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    tracing::info!(daemon, version = env!("CARGO_PKG_VERSION"), "starting");
    Ok(())
}

/// Whether a filter parses.
///
/// # Errors
/// It does not.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = parse_filter("signet=loud").unwrap_err();
        assert!(error.to_string().contains("signet=loud"), "{error}");
    }

    #[test]
    fn formats_parse_and_others_are_refused() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
