//! Signed notes (<https://c2sp.org/signed-note>): a text, an empty line, signature lines.

use data_encoding::BASE64;

/// Most bytes of a note that are read.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Most signature lines; verifiers must take 16.
const MAX_SIGNATURES: usize = 64;

/// An em dash and a space begin each signature line.
const SIGNATURE: &str = "\u{2014} ";

/// Why a text is no signed note that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE_BYTES`].
    #[error("the note has {bytes} bytes, at most {MAX_NOTE_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not a signed note.
    #[error("that is no signed note: a text, an empty line, and lines that begin with a dash (U+2014)")]
    Malformed,
    /// None of the signatures is of the known key.
    #[error("the note is not signed by the log's key")]
    Unsigned,
    /// There is a signature of the known key, and it is wrong.
    #[error("the signature under the note is wrong")]
    Signature,
}

/// A note that was taken apart; nothing is verified yet.
pub(crate) struct Note<'a> {
    /// With its last line feed: what is signed.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<Signature<'a>>,
}

pub(crate) struct Signature<'a> {
    pub(crate) name: &'a str,
    pub(crate) key_id: [u8; 4],
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { bytes: note.len() });
        }
        if note.chars().any(|character| character < ' ' && character != '\n') {
            return Err(NoteError::Malformed);
        }
        // The last empty line separates; the text before it may have some of its own.
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, rest) = note.split_at(at + 1);
        let lines = rest
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'))
            .ok_or(NoteError::Malformed)?;
        let signatures = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(Signature::parse)
            .collect::<Option<Vec<_>>>()
            .filter(|signatures| signatures.len() <= MAX_SIGNATURES)
            .ok_or(NoteError::Malformed)?;
        Ok(Self { text, signatures })
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
        if !is_name(name) {
            return None;
        }
        let decoded = BASE64.decode(encoded.as_bytes()).ok()?;
        let (key_id, bytes) = decoded.split_first_chunk::<4>()?;
        (!bytes.is_empty()).then(|| Self {
            name,
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }
}

/// Whether a key may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|character: char| character.is_whitespace() || character == '+')
}

/// Puts a note of one signature together.
pub(crate) fn write(text: &str, name: &str, key_id: [u8; 4], signature: &[u8]) -> String {
    let signature = BASE64.encode(&[&key_id, signature].concat());
    format!("{text}\n{SIGNATURE}{name} {signature}\n")
}
