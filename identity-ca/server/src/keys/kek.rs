//! Finding the key-encryption key, and opening the data key with it.

use anyhow::{Context as _, bail};
use signet_authority::DataDirectory;
use signet_keys::{Envelope, EnvelopeError, Kek, SealedKeys};
use tokio::task::spawn_blocking;
use tracing::info;

use super::options::KekSource;

/// File of the key-encryption key in the data directory, unless another one is given.
pub(super) const FILE: &str = "key-encryption.key";

/// The one that takes its place, until it has.
pub(super) const NEXT: &str = "key-encryption.key.next";

/// The data key of a registry that has one.
pub(super) async fn open(
    source: &KekSource,
    directory: &DataDirectory,
    envelope: &Envelope,
) -> anyhow::Result<SealedKeys> {
    if let Some(kek) = source.read()? {
        return with(envelope, kek)
            .await?
            .with_context(|| format!("the CA's keys do not open with {source}"));
    }
    if envelope.is_under_passphrase() {
        bail!(
            "the CA's keys are sealed under a passphrase: give --key-passphrase-file FILE, or the systemd credential \
             signet-ca.passphrase"
        );
    }
    let (first, next) = (from_file(directory, FILE)?, from_file(directory, NEXT)?);
    if first.is_none() && next.is_none() {
        bail!(
            "the CA's keys are sealed under a key that is not there: give --key-encryption-key-file FILE (or the systemd credential \
             signet-ca.kek), or put {FILE} of the CA that made them into {}",
            directory.path().display()
        );
    }
    if let Some(kek) = first {
        match with(envelope, kek).await? {
            Ok(opened) => return Ok(opened),
            Err(EnvelopeError::WrongKek) if next.is_some() => {}
            Err(error) => return Err(error).with_context(|| not_ours(directory)),
        }
    }
    // The process that changed the key was killed before it could give the new one its name.
    let next = next.context("a key was there a moment ago")?;
    let opened = with(envelope, next).await?.with_context(|| not_ours(directory))?;
    adopt_next(directory)?;
    info!("the key-encryption key was changed: the new one has its place now");
    Ok(opened)
}

/// The data directory's own key for a first start: it is on the disk before anything is sealed under it.
pub(super) fn own(directory: &DataDirectory) -> anyhow::Result<Kek> {
    match from_file(directory, FILE)? {
        Some(kek) => Ok(kek),
        None => make(directory, FILE),
    }
}

/// A key in the data directory that is about to take the place of whatever is used now.
pub(super) fn next(directory: &DataDirectory) -> anyhow::Result<Kek> {
    make(directory, NEXT)
}

/// Gives the next key its place.
pub(super) fn adopt_next(directory: &DataDirectory) -> anyhow::Result<()> {
    directory.rename(NEXT, FILE)?;
    Ok(())
}

fn make(directory: &DataDirectory, name: &str) -> anyhow::Result<Kek> {
    let kek = Kek::generate()?;
    let text = kek.to_file_text().context("only a passphrase has no text")?;
    directory.write_secret(name, text.as_bytes())?;
    Ok(kek)
}

fn from_file(directory: &DataDirectory, name: &str) -> anyhow::Result<Option<Kek>> {
    let Some(bytes) = directory.read_secret(name)? else {
        return Ok(None);
    };
    let kek = Kek::from_key_bytes(&bytes);
    let kek = kek.with_context(|| format!("{} holds no key", directory.path().join(name).display()))?;
    Ok(Some(kek))
}

fn not_ours(directory: &DataDirectory) -> String {
    format!(
        "the CA's keys do not open with {}",
        directory.path().join(FILE).display()
    )
}

async fn with(envelope: &Envelope, kek: Kek) -> anyhow::Result<Result<SealedKeys, EnvelopeError>> {
    let envelope = envelope.clone();
    Ok(spawn_blocking(move || envelope.open(&kek)).await?)
}
