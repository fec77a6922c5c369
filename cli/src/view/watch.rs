//! What happens to the registry.

use jiff::Timestamp;
use serde::Serialize;
use signet_proto::ca::v1::WatchEvent;

use crate::output::{Page, View};

/// An event.
#[derive(Debug, Serialize)]
pub(crate) struct EventView {
    at: i64,
    kind: String,
    what: String,
    subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    spiffe_id: String,
    caller: String,
    position: u64,
}

impl From<WatchEvent> for EventView {
    fn from(event: WatchEvent) -> Self {
        Self {
            at: event.at,
            kind: event.kind,
            what: event.what,
            subject: event.subject,
            spiffe_id: event.spiffe_id,
            caller: event.caller,
            position: event.position,
        }
    }
}

impl EventView {
    /// Of the day, UTC.
    fn clock(&self) -> String {
        let time = Timestamp::from_second(self.at).map_or_else(|_| "-".to_owned(), |at| at.to_string());
        time.get(11..19).unwrap_or(&time).to_owned()
    }
}

impl View for EventView {
    fn draw(&self, page: &mut Page) {
        // People know a registration by its SPIFFE ID, `deregister` and its like by its id.
        let whose = if self.spiffe_id.is_empty() {
            self.subject.clone()
        } else {
            format!("{}  {}", self.spiffe_id, self.subject)
        };
        page.line(format!(
            "{}  {:<12} {:<8} {whose}  by {}",
            self.clock(),
            self.kind,
            self.what,
            self.caller
        ));
    }
}
