//! Where a log is read from: the CA, or a file.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use signet_log::{ExportLine, ExportReader, Hash, VerifierKey};
use signet_proto::ca::v1::{LogEntry, ReadLogRequest};
use tokio::time::timeout;

use super::signed;
use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;

/// How long the CA may take for the next entries.
const PATIENCE: Duration = Duration::from_secs(20);

/// Most bytes of a key or checkpoint that a user gives.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The log is not what it claims.
pub(super) fn lies(why: impl Display) -> Failure {
    Failure::Failed(format!("the issuance log lies: {why}"))
}

/// Reads entries from the CA, each handed to `each`.
pub(super) async fn read(
    ca: &Ca,
    request: ReadLogRequest,
    mut each: impl FnMut(LogEntry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stream = ca.daemon.answer(ca.client.clone().read_log(request)).await?;
    loop {
        let page = match timeout(PATIENCE, stream.message()).await {
            Ok(Ok(Some(page))) => page,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(status)) => return Err(ca.daemon.failure(&status)),
            Err(_) => {
                return Err(Failure::Failed(
                    "signet-ca stopped in the middle of its log".to_owned(),
                ));
            }
        };
        for entry in page.entries {
            each(entry)?;
        }
    }
}

/// Writes the log to a new file. Returns its size.
pub(super) async fn export(ca: &Ca, path: &Path) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    let (note, key) = signed(ca).await?;
    let size = key.open(&note).map_err(lies)?.size();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    let mut file = BufWriter::new(file);
    for line in [
        ExportLine::Header,
        ExportLine::Key(key),
        ExportLine::Checkpoint(note),
    ] {
        writeln!(file, "{line}").map_err(failed)?;
    }
    // A limit of none would mean all, and a log is never without entries.
    let request = ReadLogRequest {
        start: 0,
        limit: size,
    };
    read(ca, request, |entry| {
        writeln!(file, "{}", ExportLine::Leaf(entry.leaf)).map_err(failed)
    })
    .await?;
    file.flush()
        .and_then(|()| file.get_ref().sync_all())
        .map_err(failed)?;
    Ok(size)
}

/// An exported log: its key and checkpoint at once, its leaves one by one.
pub(super) struct Exported {
    lines: BufReader<File>,
    reader: ExportReader,
    path: String,
    pub(super) key: VerifierKey,
    pub(super) note: String,
}

impl Exported {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file =
            File::open(path).map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
        let (mut lines, mut reader) = (BufReader::new(file), ExportReader::default());
        let mut next = || next(&mut lines, &mut reader).map_err(|why| no_log(&name, why));
        let (Some(ExportLine::Header), Some(ExportLine::Key(key)), Some(ExportLine::Checkpoint(note))) =
            (next()?, next()?, next()?)
        else {
            return Err(no_log(&name, "it ends before the log begins"));
        };
        Ok(Self {
            lines,
            reader,
            path: name,
            key,
            note,
        })
    }

    pub(super) fn leaf(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let damaged = |why: String| {
            Failure::Failed(format!(
                "{} is damaged: {why}. That says nothing of the log itself: export it anew",
                self.path
            ))
        };
        match next(&mut self.lines, &mut self.reader).map_err(damaged)? {
            Some(ExportLine::Leaf(leaf)) => Ok(Some(leaf)),
            Some(ExportLine::Header | ExportLine::Key(_) | ExportLine::Checkpoint(_)) | None => Ok(None),
        }
    }
}

/// The next line; no more of it is held than any line may have.
fn next(lines: &mut BufReader<File>, reader: &mut ExportReader) -> Result<Option<ExportLine>, String> {
    let most = u64::try_from(ExportReader::MAX_LINE).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let read = lines
        .take(most)
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if read == 0 {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    // What is no text is no line of a log either.
    let line = std::str::from_utf8(line).unwrap_or("\0");
    reader.line(line).map(Some).map_err(|error| error.to_string())
}

/// It is another file.
fn no_log(name: &str, why: impl Display) -> Failure {
    Failure::Usage(format!(
        "{name} is no exported log: {why}. --file takes what `signet ca log export` wrote; a kept checkpoint \
         goes to --checkpoint, a certificate to --certificate, the key to --key"
    ))
}

/// The key that a user gave, itself or in a file; without one, the one that came with the log.
pub(super) fn key(given: Option<&str>, named: &str, output: &Output) -> Result<VerifierKey, Failure> {
    let Some(given) = given else {
        output.remark(
            "note: checked with the key that came with the log. Keep it (`signet ca log key`) and give it with --key, so \
             that nobody can put another log and key in its place.",
        );
        return VerifierKey::parse(named).map_err(|error| Failure::Failed(error.to_string()));
    };
    let text = match VerifierKey::parse(given) {
        Ok(key) => return Ok(key),
        Err(_) => small_file(Path::new(given))?,
    };
    VerifierKey::parse(text.trim()).map_err(|error| Failure::Usage(format!("{given}: {error}")))
}

/// A file that a user gave, of which no more is read than makes sense.
pub(super) fn small_file(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}

/// The hashes of a proof.
pub(super) fn proof_hashes(proof: &[Vec<u8>]) -> Result<Vec<Hash>, Failure> {
    proof
        .iter()
        .map(|hash| Hash::from_slice(hash).ok_or_else(|| lies("a proof has something that is no hash")))
        .collect()
}
