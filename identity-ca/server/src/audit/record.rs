//! What a line of the audit stream says. Pure. docs/audit.md has every field.

use serde::Serialize;
use serde_json::{Map, Value};
use signet_log::{Caller, Entry, Record as LogRecord};
use signet_spiffe::NodeName;

/// Most bytes of a reason; they come from our own refusals, which quote what came in.
const MAX_REASON: usize = 512;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Event {
    /// An operator's call.
    #[serde(rename = "operator.call")]
    OperatorCall,
    /// A node was admitted: it gets its first SVID.
    #[serde(rename = "node.attested")]
    NodeAttested,
    /// A call of a node or a stranger that was refused.
    #[serde(rename = "node.call")]
    NodeCall,
    /// The registry is another one than before.
    #[serde(rename = "registry.change")]
    RegistryChange,
    /// The stream begins, or goes on in a new file.
    #[serde(rename = "audit.opened")]
    Opened,
    /// Records that had no place are missing here.
    #[serde(rename = "audit.lost")]
    Lost,
    /// The CA ends.
    #[serde(rename = "audit.closed")]
    Closed,
}

impl Event {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] = [
        Self::OperatorCall,
        Self::NodeAttested,
        Self::NodeCall,
        Self::RegistryChange,
        Self::Opened,
        Self::Lost,
        Self::Closed,
    ];
}

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It is about to be done; another record with the same `id` says what came of it.
    Begun,
    /// Done.
    Done,
    /// Not done; `code` and `reason` say why.
    Refused,
}

/// Who caused it: what is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Who {
    /// On the operator's socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    /// By a verified SVID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spiffe_id: Option<String>,
    /// Of the SVID, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<String>,
    /// Where a TCP connection comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// As the issuance log names who changed the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<String>,
    /// What they may do as operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
}

/// A line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
    /// The method that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<String>,
    /// The same in all records of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<Who>,
    /// What the call or change is about.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) what: Map<String, Value>,
    /// gRPC's name of the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Record {
    pub(crate) fn new(event: Event) -> Self {
        Self {
            event,
            outcome: None,
            call: None,
            id: None,
            who: None,
            what: Map::new(),
            code: None,
            reason: None,
        }
    }

    /// With why it was refused.
    pub(crate) fn refused(self, status: &tonic::Status) -> Self {
        self.refused_because(status.code(), status.message())
    }

    /// With why it was refused, whatever the caller was told.
    pub(crate) fn refused_because(mut self, status: tonic::Code, reason: &str) -> Self {
        self.outcome = Some(Outcome::Refused);
        self.code = Some(code(status));
        let end = reason.floor_char_boundary(MAX_REASON);
        self.reason = reason.get(..end).map(str::to_owned);
        self
    }

    /// Of a node's first SVID.
    pub(crate) fn of_attestation(node: &NodeName, caller: &Caller, serial: &str) -> Self {
        let mut what = Map::new();
        what.insert("node".to_owned(), node.as_str().into());
        what.insert("serial".to_owned(), serial.into());
        Self {
            outcome: Some(Outcome::Done),
            who: Some(Who {
                caller: Some(caller.to_string()),
                ..Who::default()
            }),
            what,
            ..Self::new(Event::NodeAttested)
        }
    }

    /// Of a change that was committed.
    pub(crate) fn of_change(entry: &Entry) -> Option<Self> {
        let LogRecord::Change(change) = &entry.record else {
            return None;
        };
        let caller = match &entry.caller {
            Caller::Operator { uid } => Who {
                uid: Some(*uid),
                ..Who::default()
            },
            Caller::Identity(id) => Who {
                spiffe_id: Some(id.to_string()),
                ..Who::default()
            },
            other @ (Caller::Ca
            | Caller::Node(_)
            | Caller::JoinToken(_)
            | Caller::X509Pop(_)
            | Caller::TpmDevid(_)) => Who {
                caller: Some(other.to_string()),
                ..Who::default()
            },
        };
        let digest =
            |hash: Option<signet_log::Hash>| hash.map_or(Value::Null, |hash| hash.to_string().into());
        let mut what = Map::new();
        what.insert("kind".to_owned(), change.kind.as_str().into());
        what.insert("subject".to_owned(), change.subject.clone().into());
        what.insert("before".to_owned(), digest(change.before));
        what.insert("after".to_owned(), digest(change.after));
        Some(Self {
            outcome: Some(Outcome::Done),
            who: Some(caller),
            what,
            ..Self::new(Event::RegistryChange)
        })
    }

    /// The line, with its end. `time` is RFC 3339.
    pub(crate) fn line(&self, time: &str, sequence: u64) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            time: &'a str,
            seq: u64,
            #[serde(flatten)]
            record: &'a Record,
        }
        let line = Line {
            time,
            seq: sequence,
            record: self,
        };
        // Texts and numbers alone: there is nothing in it that could fail.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

fn code(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "ok",
        tonic::Code::Cancelled => "cancelled",
        tonic::Code::Unknown => "unknown",
        tonic::Code::InvalidArgument => "invalid_argument",
        tonic::Code::DeadlineExceeded => "deadline_exceeded",
        tonic::Code::NotFound => "not_found",
        tonic::Code::AlreadyExists => "already_exists",
        tonic::Code::PermissionDenied => "permission_denied",
        tonic::Code::ResourceExhausted => "resource_exhausted",
        tonic::Code::FailedPrecondition => "failed_precondition",
        tonic::Code::Aborted => "aborted",
        tonic::Code::OutOfRange => "out_of_range",
        tonic::Code::Unimplemented => "unimplemented",
        tonic::Code::Internal => "internal",
        tonic::Code::Unavailable => "unavailable",
        tonic::Code::DataLoss => "data_loss",
        tonic::Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let status = tonic::Status::invalid_argument(format!("two\nlines {}", "é".repeat(600)));
        let record = Record {
            call: Some("Register".to_owned()),
            ..Record::new(Event::OperatorCall)
        };
        let line = record.refused(&status).line("2026-11-23T12:00:00Z", 7);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["seq"], 7);
        assert_eq!(value["code"], "invalid_argument");
        assert!(value["reason"].as_str().unwrap().len() <= MAX_REASON);
    }

    #[test]
    fn the_page_has_every_event_and_every_field() {
        let page = include_str!("../../../../docs/audit.md");
        for event in Event::ALL {
            let name = serde_json::to_value(event).unwrap();
            let name = name.as_str().unwrap();
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        let full = Record {
            outcome: Some(Outcome::Begun),
            call: Some(String::new()),
            id: Some(String::new()),
            who: Some(Who {
                uid: Some(0),
                pid: Some(0),
                spiffe_id: Some(String::new()),
                serial: Some(String::new()),
                address: Some(String::new()),
                caller: Some(String::new()),
                role: Some(""),
            }),
            what: Map::from_iter([("x".to_owned(), Value::Null)]),
            code: Some(""),
            reason: Some(String::new()),
            ..Record::new(Event::OperatorCall)
        };
        let line: Value = serde_json::from_slice(&full.line("", 0)).unwrap();
        let fields = line.as_object().unwrap().keys();
        let who = line["who"]
            .as_object()
            .unwrap()
            .keys()
            .map(|key| format!("who.{key}"));
        for field in fields.cloned().chain(who) {
            assert!(page.contains(&format!("`{field}`")), "{field}");
        }
    }
}
