//! `signet ca log verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use signet_log::{
    Audit, Audited, Checkpoint, CheckpointError, Fault, Hash, NoteError, VerifierKey, verify_consistency,
    verify_inclusion,
};
use signet_proto::ca::v1::prove_log_entry_request::Entry as Wanted;
use signet_proto::ca::v1::{LogEntry, ProveLogEntryRequest, ProveLogGrowthRequest, ReadLogRequest};

use super::signed;
use super::source::{self, Exported, lies, proof_hashes, small_file};
use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::ca_log::{FoundRow, KeptRow, VerifiedView};

/// Arguments of `signet ca log verify`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// An exported log instead of the CA's.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The log's key, or a file of it, from `signet ca log key` [default: what comes with the log].
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// A checkpoint that you kept: the log must have grown from it. May be given several times.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// A certificate, PEM, that must be in the log; the first of its file. May be given several times.
    #[arg(long = "certificate", value_name = "FILE")]
    certificates: Vec<PathBuf>,
}

/// What a log is held against.
struct Against {
    key: VerifierKey,
    head: Checkpoint,
    kept: Vec<(PathBuf, Checkpoint)>,
    certificates: Vec<(PathBuf, Hash)>,
}

pub(super) async fn run(arguments: &Arguments, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let (against, audited) = if let Some(file) = &arguments.file {
        let mut exported = Exported::open(file)?;
        let key = source::key(arguments.key.as_deref(), &exported.key.to_string(), output)?;
        let against = Against::new(arguments, key, &exported.note)?;
        let audited = audit_file(&mut exported, &against)?;
        (against, audited)
    } else {
        let (note, named) = signed(ca).await?;
        let key = source::key(arguments.key.as_deref(), &named.to_string(), output)?;
        let against = Against::new(arguments, key, &note)?;
        let audited = audit_ca(ca, &against).await?;
        check_proofs(ca, &against, &audited).await?;
        (against, audited)
    };
    output.show(&view(&against, &audited))
}

impl Against {
    fn new(arguments: &Arguments, key: VerifierKey, note: &str) -> Result<Self, Failure> {
        let head = key.open(note).map_err(|error| {
            Failure::Failed(format!(
                "the checkpoint that came with the log does not count: {error}. It is the log of another CA than the key, or \
                 somebody has changed it"
            ))
        })?;
        let kept = arguments.checkpoints.iter().map(|path| {
            let note = small_file(path)?;
            let checkpoint = key
                .open(&note)
                .map_err(|error| not_its_checkpoint(path, &error))?;
            Ok((path.clone(), checkpoint))
        });
        let kept = kept.collect::<Result<Vec<_>, Failure>>()?;
        let certificates = arguments
            .certificates
            .iter()
            .map(|path| Ok((path.clone(), certificate(path)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self {
            key,
            head,
            kept,
            certificates,
        })
    }

    /// A certificate that is not there need not be one of this CA.
    fn lies(&self, fault: &Fault) -> Failure {
        let Fault::NotLogged { sha256 } = fault else {
            return lies(fault);
        };
        let files = self.certificates.iter().filter(|(_, wanted)| wanted == sha256);
        let files: Vec<_> = files.map(|(path, _)| path.display().to_string()).collect();
        Failure::Failed(format!(
            "{} is not in the log: if this CA is said to have signed it, its key was used outside of the log (SHA-256 {sha256})",
            files.join(", ")
        ))
    }

    fn audit(&self) -> Result<Audit, Fault> {
        let kept = self.kept.iter().map(|(_, checkpoint)| checkpoint.clone());
        let wanted = self.certificates.iter().map(|(_, sha256)| *sha256);
        Audit::new(kept.chain([self.head.clone()]), wanted)
    }
}

fn audit_file(exported: &mut Exported, against: &Against) -> Result<Audited, Failure> {
    let mut audit = against.audit().map_err(lies)?;
    let mut position = 0;
    while let Some(leaf) = exported.leaf()? {
        audit.entry(position, &leaf, &[]).map_err(lies)?;
        position += 1;
    }
    audit.finish().map_err(|fault| against.lies(&fault))
}

async fn audit_ca(ca: &Ca, against: &Against) -> Result<Audited, Failure> {
    let mut audit = against.audit().map_err(lies)?;
    let request = ReadLogRequest {
        start: 0,
        limit: against.head.size(),
    };
    source::read(
        ca,
        request,
        |LogEntry {
             position,
             leaf,
             hashes,
         }| {
            let stored = proof_hashes(&hashes)?;
            audit.entry(position, &leaf, &stored).map_err(lies)
        },
    )
    .await?;
    audit.finish().map_err(|fault| against.lies(&fault))
}

/// Who does not read the whole log relies on the CA's proofs: they must hold as well.
async fn check_proofs(ca: &Ca, against: &Against, audited: &Audited) -> Result<(), Failure> {
    let head = &against.head;
    for (_, kept) in &against.kept {
        let request = ProveLogGrowthRequest {
            old_size: kept.size(),
            new_size: head.size(),
        };
        let answer = ca
            .daemon
            .answer(ca.client.clone().prove_log_growth(request))
            .await?;
        let proof = proof_hashes(&answer.proof)?;
        verify_consistency((kept.size(), &kept.root()), (head.size(), &head.root()), &proof).map_err(lies)?;
    }
    for &position in audited.found.values() {
        let request = ProveLogEntryRequest {
            entry: Some(Wanted::Position(position)),
            size: head.size(),
        };
        let answer = ca
            .daemon
            .answer(ca.client.clone().prove_log_entry(request))
            .await?;
        let leaf = Hash::leaf(&answer.entry.unwrap_or_default().leaf);
        let proof = proof_hashes(&answer.proof)?;
        verify_inclusion(leaf, position, head.size(), &proof, &head.root()).map_err(lies)?;
    }
    Ok(())
}

/// No checkpoint at all is the wrong file; one of another log may be, or tells of a forgery.
fn not_its_checkpoint(path: &Path, error: &CheckpointError) -> Failure {
    let name = path.display();
    match error {
        CheckpointError::Note(NoteError::Malformed | NoteError::TooLong { .. })
        | CheckpointError::Malformed => Failure::Usage(format!(
            "{name} is no checkpoint: {error}. --checkpoint takes what `signet ca log checkpoint` wrote"
        )),
        CheckpointError::Note(NoteError::Unsigned | NoteError::Signature)
        | CheckpointError::Origin
        | CheckpointError::Sign => Failure::Failed(format!(
            "{name} does not count: {error}. It is of another log than the key, or forged"
        )),
    }
}

fn certificate(path: &Path) -> Result<Hash, Failure> {
    let pem = small_file(path)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| Failure::Usage(format!("{} holds no certificate in PEM", path.display())))?;
    Ok(Hash::sha256(&certificate))
}

fn view(against: &Against, audited: &Audited) -> VerifiedView {
    VerifiedView {
        origin: against.head.origin().to_owned(),
        size: audited.size,
        root: audited.root.to_base64(),
        key: against.key.to_string(),
        unknown: audited.unknown,
        checkpoints: against
            .kept
            .iter()
            .map(|(path, kept)| KeptRow {
                file: path.display().to_string(),
                size: kept.size(),
            })
            .collect(),
        certificates: against
            .certificates
            .iter()
            .filter_map(|(path, sha256)| {
                Some(FoundRow {
                    file: path.display().to_string(),
                    sha256: sha256.to_string(),
                    position: *audited.found.get(sha256)?,
                })
            })
            .collect(),
    }
}
