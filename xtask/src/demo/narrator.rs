//! What stands on the terminal: what is about to be shown, what was seen, whether the two agree.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;

/// Writes the story.
#[derive(Debug)]
pub(super) struct Narrator {
    colour: bool,
    chapter: u32,
    checks: u32,
}

impl Narrator {
    pub(super) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colour: wanted && std::io::stdout().is_terminal(),
            chapter: 0,
            checks: 0,
        }
    }

    /// A new part.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        let title = self.paint("1", &format!("{}. {title}", self.chapter));
        self.write(&format!("\n{title}\n"));
    }

    /// A paragraph of the story.
    pub(super) fn say(&self, text: &str) {
        self.write(&format!("   {}\n", text.replace('\n', "\n   ")));
    }

    /// A command line as a user would type it.
    pub(super) fn command(&self, line: &str) {
        self.write(&format!(
            "\n   {} {}\n",
            self.paint("1", "$"),
            self.paint("1", line)
        ));
    }

    /// What a program wrote.
    pub(super) fn output(&self, text: &str) {
        for line in text.lines() {
            self.write(&format!("     {line}\n"));
        }
    }

    /// A sentence, and whether it is true. One that is not ends the demo.
    pub(super) fn check(&mut self, holds: bool, sentence: &str, seen: &str) -> anyhow::Result<()> {
        self.checks += 1;
        if holds {
            self.write(&format!("   {} {sentence}\n", self.paint("32", "[seen]")));
            return Ok(());
        }
        self.write(&format!("   {} {sentence}\n", self.paint("31", "[NOT SEEN]")));
        bail!("the demo says \"{sentence}\", but this was seen: {seen}")
    }

    /// How many sentences were checked.
    pub(super) fn checks(&self) -> u32 {
        self.checks
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Flushed at once: the story is told as it happens. A reader that went away does not stop it.
    #[expect(clippy::unused_self, reason = "whoever writes has the narrator in hand")]
    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
