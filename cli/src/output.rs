//! Where results go: standard output for results, standard error for everything else.

mod page;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;

pub(crate) use page::{Cell, Page, Table, Tone};

/// Something that can be shown: as JSON by its fields, as text by drawing on a page.
pub(crate) trait View: Serialize {
    /// Draws it.
    fn draw(&self, page: &mut Page);
}

/// How this run writes.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    colour: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            format,
            colour: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// Whether JSON is asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Shows a view.
    pub(crate) fn show(&self, view: &impl View) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(view, true),
            Format::Table => {
                let mut page = Page::new(unix_now(), self.colour);
                view.draw(&mut page);
                self.write(&page.finish())
            }
        }
    }

    /// Says something to a person beside what it shows: on standard error, and not beside JSON.
    pub(crate) fn hint(&self, text: impl FnOnce(i64) -> String) {
        if matches!(self.format, Format::Table) {
            // A standard error that is closed is no reason to fail.
            let _ = writeln!(std::io::stderr(), "{}", text(unix_now()));
        }
    }

    /// Shows one of many views: one line of JSON, or what it draws.
    pub(crate) fn show_line(&self, view: &impl View) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(view, false),
            Format::Table => self.show(view),
        }
    }

    fn json(&self, view: &impl Serialize, pretty: bool) -> Result<(), Failure> {
        let text = if pretty {
            serde_json::to_string_pretty(view)
        } else {
            serde_json::to_string(view)
        };
        self.write(&(text.map_err(|error| Failure::Failed(error.to_string()))? + "\n"))
    }

    /// Writes to standard output. A reader that went away (`| head`) is no failure worth words.
    #[expect(clippy::unused_self, reason = "whoever writes has an Output in hand")]
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => other.map_err(|error| Failure::Failed(format!("cannot write: {error}"))),
        }
    }

    /// A word to a person beside the result; not in JSON.
    pub(crate) fn remark(&self, text: &str) {
        if self.format == Format::Table {
            // Standard error may be closed: nobody wants it then.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Something that is missing from the result: on standard error, also beside JSON.
    #[expect(clippy::unused_self, reason = "whoever writes has an Output in hand")]
    pub(crate) fn warn(&self, text: &str) {
        // Standard error may be closed: nobody wants it then.
        let _ = writeln!(std::io::stderr(), "signet: {text}");
    }

    /// Tells of a failure and gives its exit code.
    #[expect(clippy::unused_self, reason = "whoever writes has an Output in hand")]
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        let _ = writeln!(std::io::stderr(), "signet: {failure}");
        failure.exit_code().into()
    }
}

/// Unix seconds now.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
