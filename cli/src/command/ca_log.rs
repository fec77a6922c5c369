//! `signet ca log`.

mod source;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use signet_log::{Hash, VerifierKey, verify_inclusion};
use signet_proto::ca::v1::prove_log_entry_request::Entry as Wanted;
use signet_proto::ca::v1::{
    ListRegistrationsRequest, ProveLogEntryRequest, ReadLogRequest, SignLogCheckpointRequest,
};

use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::ca_log::{CheckpointView, EntriesView, EntryRow, ExportedView, ProofView};
use source::{lies, proof_hashes};

/// Shown at the end of the help.
const AFTER: &str = "\
Everything that the CA issued, and every change of its registry, stands in a log that only grows; nothing is handed out
before. Keep the key once, and a checkpoint now and then, where the CA's host cannot reach them: they hold the CA to what it
has shown you.

Examples:
  signet ca log show --last 50
  signet ca log key > log.pub
  signet ca log checkpoint > today.checkpoint
  signet ca log verify --key log.pub --checkpoint today.checkpoint --certificate svid.pem
  signet ca log export log.txt && signet ca log verify --file log.txt --key log.pub

Exit code 1 of verify and prove: the log lies, and how.";

/// Arguments of `signet ca log`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show entries: who got what, who changed what.
    Show {
        /// The newest so many.
        #[arg(long, value_name = "COUNT", default_value_t = 20, conflicts_with = "from")]
        last: u64,
        /// From this position on.
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// At most so many, with --from.
        #[arg(long, value_name = "COUNT", default_value_t = 100, requires = "from")]
        limit: u64,
        /// Of these, only those about this SPIFFE ID.
        #[arg(long, value_name = "ID")]
        spiffe_id: Option<String>,
    },
    /// Write the key that checks the log's checkpoints.
    Key,
    /// Write a signed checkpoint of the log as it is now (<https://c2sp.org/tlog-checkpoint>).
    Checkpoint,
    /// Prove that an SVID is in the log.
    Prove {
        /// Serial number of the SVID, in hexadecimal digits.
        #[arg(value_name = "SERIAL", required_unless_present = "position")]
        serial: Option<String>,
        /// An entry by its position instead.
        #[arg(long, conflicts_with = "serial")]
        position: Option<u64>,
        /// The log's key, or a file of it, from `signet ca log key` [default: what the CA says it is].
        #[arg(long, value_name = "KEY|FILE")]
        key: Option<String>,
    },
    /// Write the whole log to a file that can be verified elsewhere.
    Export {
        /// The file; it must not exist yet.
        file: PathBuf,
    },
    /// Check every entry, the tree, and that the log is still the one that it was.
    Verify(verify::Arguments),
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, ca: &Ca, output: &Output) -> Result<(), Failure> {
    match &arguments.command {
        Command::Show {
            last,
            from,
            limit,
            spiffe_id,
        } => {
            show(
                ca,
                *last,
                from.map(|from| (from, *limit)),
                spiffe_id.as_deref(),
                output,
            )
            .await
        }
        Command::Key => {
            let (_, key) = signed(ca).await?;
            output.write(&format!("{key}\n"))
        }
        Command::Checkpoint => {
            let (note, key) = signed(ca).await?;
            if output.is_json() {
                let checkpoint = key.open(&note).map_err(lies)?;
                return output.show(&CheckpointView::new(&checkpoint, &key, note));
            }
            output.write(&note)
        }
        Command::Prove {
            serial,
            position,
            key,
        } => prove(ca, serial.as_deref(), *position, key.as_deref(), output).await,
        Command::Export { file } => {
            let size = source::export(ca, file).await?;
            output.show(&ExportedView {
                file: file.display().to_string(),
                size,
            })
        }
        Command::Verify(arguments) => verify::run(arguments, ca, output).await,
    }
}

/// A checkpoint of now, unopened, and the key that the CA names for it.
async fn signed(ca: &Ca) -> Result<(String, VerifierKey), Failure> {
    let mut client = ca.client.clone();
    let call = client.sign_log_checkpoint(SignLogCheckpointRequest {});
    let answer = ca.daemon.answer(call).await?;
    let key = VerifierKey::parse(&answer.verifier_key)
        .map_err(|error| Failure::Failed(format!("signet-ca names no key: {error}")))?;
    Ok((answer.note, key))
}

async fn show(
    ca: &Ca,
    last: u64,
    range: Option<(u64, u64)>,
    spiffe_id: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let (start, limit) = if let Some(range) = range {
        range
    } else {
        let (note, key) = signed(ca).await?;
        let size = key.open(&note).map_err(lies)?.size();
        (size.saturating_sub(last), last)
    };
    let mut entries = Vec::new();
    let request = ListRegistrationsRequest {};
    let known = ca
        .daemon
        .answer(ca.client.clone().list_registrations(request))
        .await?
        .registrations;
    // To the CA, a limit of none means all.
    if limit == 0 {
        return output.show(&EntriesView { entries });
    }
    source::read(ca, ReadLogRequest { start, limit }, |entry| {
        let mut row = EntryRow::new(entry.position, &entry.leaf);
        row.recall(&known);
        if spiffe_id.is_none_or(|wanted| row.is_about(wanted)) {
            entries.push(row);
        }
        Ok(())
    })
    .await?;
    output.show(&EntriesView { entries })
}

async fn prove(
    ca: &Ca,
    serial: Option<&str>,
    position: Option<u64>,
    key: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let wanted = match (serial, position) {
        (Some(serial), _) => Wanted::Serial(parse_serial(serial)?),
        (None, Some(position)) => Wanted::Position(position),
        (None, None) => return Err(Failure::Usage("give a serial number, or --position".to_owned())),
    };
    let request = ProveLogEntryRequest {
        entry: Some(wanted),
        size: 0,
    };
    let mut client = ca.client.clone();
    let answer = ca.daemon.answer(client.prove_log_entry(request)).await?;
    let key = source::key(key, &answer.verifier_key, output)?;
    let checkpoint = key.open(&answer.note).map_err(lies)?;
    let entry = answer.entry.unwrap_or_default();
    let proof = proof_hashes(&answer.proof)?;
    verify_inclusion(
        Hash::leaf(&entry.leaf),
        entry.position,
        checkpoint.size(),
        &proof,
        &checkpoint.root(),
    )
    .map_err(lies)?;
    let row = EntryRow::new(entry.position, &entry.leaf);
    // A proof of another entry than the one that was asked for proves nothing.
    if serial.is_some_and(|serial| !row.has_serial(serial)) || position.is_some_and(|at| at != entry.position)
    {
        return Err(lies("the proof is of another entry"));
    }
    output.show(&ProofView::new(
        row,
        &entry.leaf,
        &proof,
        &checkpoint,
        answer.note,
    ))
}

fn parse_serial(text: &str) -> Result<Vec<u8>, Failure> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.replace(':', "").as_bytes())
        .ok()
        .filter(|bytes| (1..=signet_log::MAX_SERIAL_BYTES).contains(&bytes.len()))
        .ok_or_else(|| {
            Failure::Usage(format!(
                "`{text}` is no serial number: 1 to 20 bytes in hexadecimal digits"
            ))
        })
}
