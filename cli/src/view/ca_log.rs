//! The issuance log: entries, proofs, what verification found.

use data_encoding::BASE64;
use serde::Serialize;
use signet_log::{Change, ChangeKind, Checkpoint, Entry, Hash, Issuance, Record, VerifierKey, registration};
use signet_proto::view::v1::Registration;

use crate::output::{Page, Table, Tone, View};
use crate::text;

/// An entry as tables and JSON have it; what it has not is empty.
#[derive(Debug, Default, Serialize)]
pub(crate) struct EntryRow {
    position: u64,
    /// Unix seconds.
    at: u64,
    /// `x509`, `jwt`, `wit`, `registration`, `node`, `join token`, `setting`, `revocation`, or `unknown`.
    kind: String,
    caller: String,
    /// The SPIFFE ID, or what changed.
    subject: String,
    /// Of a registration: whose it is, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Of a registration that still stands: what the CA says of it now, which the log has only a hash of.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    /// Why the entry cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl EntryRow {
    pub(crate) fn new(position: u64, leaf: &[u8]) -> Self {
        let entry = match Entry::decode(leaf) {
            Ok(entry) => entry,
            Err(error) => {
                return Self {
                    position,
                    kind: "unknown".to_owned(),
                    unreadable: Some(error.to_string()),
                    ..Self::default()
                };
            }
        };
        let row = Self {
            position,
            at: entry.at,
            caller: entry.caller.to_string(),
            ..Self::default()
        };
        match entry.record {
            Record::Issuance(issuance) => row.issued(&issuance),
            Record::Change(change) => row.changed(change),
        }
    }

    fn changed(self, change: Change) -> Self {
        let (subject, spiffe_id) = if change.kind == ChangeKind::Registration {
            let (id, spiffe_id) = registration(&change.subject);
            (id.to_owned(), spiffe_id.map(str::to_owned))
        } else {
            (change.subject, None)
        };
        Self {
            kind: change.kind.as_str().to_owned(),
            subject,
            spiffe_id,
            before: change.before.map(|digest| digest.to_string()),
            after: change.after.map(|digest| digest.to_string()),
            ..self
        }
    }

    fn issued(self, issuance: &Issuance) -> Self {
        Self {
            kind: issuance.document.as_str().to_owned(),
            subject: issuance.spiffe_id.to_string(),
            node: issuance.node.as_ref().map(ToString::to_string),
            serial: Some(issuance.serial_hex()),
            not_before: Some(issuance.not_before),
            not_after: Some(issuance.not_after),
            sha256: Some(issuance.sha256.to_string()),
            ..self
        }
    }

    pub(crate) fn is_about(&self, spiffe_id: &str) -> bool {
        self.subject == spiffe_id || self.spiffe_id.as_deref() == Some(spiffe_id)
    }

    pub(crate) fn has_serial(&self, serial: &str) -> bool {
        let wanted = serial.replace(':', "").to_ascii_lowercase();
        self.serial.as_ref().is_some_and(|serial| *serial == wanted)
    }

    /// Says of a registration what it is, going by those that there are now.
    pub(crate) fn recall(&mut self, registrations: &[Registration]) {
        let of_registration = self.kind == ChangeKind::Registration.as_str();
        let found = registrations
            .iter()
            .find(|registration| of_registration && registration.id == self.subject);
        self.now = found.map(|registration| format!("{} on {}", registration.spiffe_id, registration.node));
    }

    /// What happened, in a few words.
    fn what(&self, now: i64) -> String {
        if let Some(why) = &self.unreadable {
            return why.clone();
        }
        if let Some(serial) = &self.serial {
            let end = i64::try_from(self.not_after.unwrap_or(0)).unwrap_or(i64::MAX);
            let verb = if end > now { "expires" } else { "expired" };
            return format!("serial {serial}, {verb} {}", text::when(end, now));
        }
        let done = match (&self.before, &self.after) {
            (None, _) => "made",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
        };
        match self.now.as_ref().or(self.spiffe_id.as_ref()) {
            Some(what) => format!("{done}: {what}"),
            None => done.to_owned(),
        }
    }
}

/// Entries in order.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct EntriesView {
    pub(crate) entries: Vec<EntryRow>,
}

impl View for EntriesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["POSITION", "WHEN", "KIND", "SUBJECT", "ON", "BY", "WHAT"]);
        for entry in &self.entries {
            let at = i64::try_from(entry.at).unwrap_or(i64::MAX);
            table.row([
                entry.position.into(),
                text::when(at, page.now()).into(),
                entry.kind.as_str().into(),
                text::dash(&entry.subject).into(),
                text::dash(entry.node.as_deref().unwrap_or_default()).into(),
                text::dash(&entry.caller).into(),
                entry.what(page.now()).into(),
            ]);
        }
        page.table(table, "no such entries");
    }
}

/// A signed head; only as JSON: for people the note itself is written.
#[derive(Debug, Serialize)]
pub(crate) struct CheckpointView {
    origin: String,
    size: u64,
    root: String,
    key: String,
    note: String,
}

impl CheckpointView {
    pub(crate) fn new(checkpoint: &Checkpoint, key: &VerifierKey, note: String) -> Self {
        Self {
            origin: checkpoint.origin().to_owned(),
            size: checkpoint.size(),
            root: checkpoint.root().to_base64(),
            key: key.to_string(),
            note,
        }
    }
}

impl View for CheckpointView {
    fn draw(&self, page: &mut Page) {
        page.line(&self.note);
    }
}

/// A proof that held.
#[derive(Debug, Serialize)]
pub(crate) struct ProofView {
    entry: EntryRow,
    /// Base 64.
    leaf: String,
    /// Base 64, from the leaf to the root.
    proof: Vec<String>,
    size: u64,
    root: String,
    note: String,
}

impl ProofView {
    pub(crate) fn new(
        entry: EntryRow,
        leaf: &[u8],
        proof: &[Hash],
        checkpoint: &Checkpoint,
        note: String,
    ) -> Self {
        Self {
            entry,
            leaf: BASE64.encode(leaf),
            proof: proof.iter().map(Hash::to_base64).collect(),
            size: checkpoint.size(),
            root: checkpoint.root().to_base64(),
            note,
        }
    }
}

impl View for ProofView {
    fn draw(&self, page: &mut Page) {
        page.toned_line(
            format!(
                "entry {} is in the log of {} entries, root {}",
                self.entry.position, self.size, self.root
            ),
            Tone::Good,
        );
        let entry = &self.entry;
        let lines = [
            ("kind", entry.kind.clone()),
            ("subject", entry.subject.clone()),
            ("node", entry.node.clone().unwrap_or_default()),
            ("caused by", entry.caller.clone()),
            ("serial", entry.serial.clone().unwrap_or_default()),
            ("SHA-256", entry.sha256.clone().unwrap_or_default()),
        ];
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            page.line(format!("{name:<11}{value}"));
        }
        page.line("proof");
        for hash in &self.proof {
            page.line(format!("  {hash}"));
        }
    }
}

/// A log that was written to a file.
#[derive(Debug, Serialize)]
pub(crate) struct ExportedView {
    pub(crate) file: String,
    pub(crate) size: u64,
}

impl View for ExportedView {
    fn draw(&self, page: &mut Page) {
        page.line(format!("wrote {} entries to {}", self.size, self.file));
    }
}

/// A log that was found to be honest.
#[derive(Debug, Serialize)]
pub(crate) struct VerifiedView {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: String,
    pub(crate) key: String,
    /// Entries of kinds that this program does not know; they are where they must be.
    pub(crate) unknown: u64,
    pub(crate) checkpoints: Vec<KeptRow>,
    pub(crate) certificates: Vec<FoundRow>,
}

/// A checkpoint that the log has grown from.
#[derive(Debug, Serialize)]
pub(crate) struct KeptRow {
    pub(crate) file: String,
    pub(crate) size: u64,
}

/// A certificate that is in the log.
#[derive(Debug, Serialize)]
pub(crate) struct FoundRow {
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) position: u64,
}

impl View for VerifiedView {
    fn draw(&self, page: &mut Page) {
        page.toned_line(
            format!("the log of {} is whole: {} entries", self.origin, self.size),
            Tone::Good,
        );
        page.line(format!("root       {}", self.root));
        page.line(format!("key        {}", self.key));
        for kept in &self.checkpoints {
            page.line(format!("grown from {} ({} entries)", kept.file, kept.size));
        }
        for found in &self.certificates {
            page.line(format!("has        {} (entry {})", found.file, found.position));
        }
        if self.unknown > 0 {
            page.toned_line(
                format!(
                    "of these {} of a kind that this program does not know; they are where they must be",
                    self.unknown
                ),
                Tone::Odd,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_who_got_what_on_which_node_and_until_when() {
        let issued = EntryRow {
            position: 7,
            at: 940,
            kind: "x509".into(),
            subject: "spiffe://td/ns/shop/sa/web".into(),
            caller: "node:n2".into(),
            node: Some("n2".into()),
            serial: Some("ab12".into()),
            not_after: Some(4600),
            ..EntryRow::default()
        };
        let mut made = EntryRow {
            position: 8,
            at: 950,
            kind: ChangeKind::Registration.as_str().into(),
            subject: "id-1".into(),
            caller: "uid:0".into(),
            after: Some("cafe".into()),
            ..EntryRow::default()
        };
        made.recall(&[Registration {
            id: "id-1".into(),
            spiffe_id: "spiffe://td/ns/shop/sa/web".into(),
            node: "n2".into(),
            ..Registration::default()
        }]);
        // Of one that has gone the log alone knows whose it was.
        let gone = EntryRow {
            position: 9,
            at: 960,
            caller: "uid:0".into(),
            ..EntryRow::default()
        };
        let gone = gone.changed(Change {
            kind: ChangeKind::Registration,
            subject: "id-2 spiffe://td/ns/shop/sa/old".into(),
            before: Some(Hash::sha256(b"it")),
            after: None,
        });
        assert!(gone.is_about("spiffe://td/ns/shop/sa/old"));
        let mut page = Page::new(1000, false);
        EntriesView {
            entries: vec![issued, made, gone],
        }
        .draw(&mut page);
        let expected = "\
POSITION  WHEN       KIND          SUBJECT                     ON  BY       WHAT
7         1m00s ago  x509          spiffe://td/ns/shop/sa/web  n2  node:n2  serial ab12, expires in 1h00m
8         50s ago    registration  id-1                        -   uid:0    made: spiffe://td/ns/shop/sa/web on n2
9         40s ago    registration  id-2                        -   uid:0    removed: spiffe://td/ns/shop/sa/old
";
        assert_eq!(page.finish(), expected);
    }
}
