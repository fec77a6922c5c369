use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use signet_devid::{Address, Passwords};
use zeroize::Zeroizing;

/// What everybody may do with a file, in its mode.
const OTHERS: u32 = 0o007;
/// Longest password that any TPM takes, bytes, and the end of the line.
const PASSWORD: usize = 64 + 1;

/// Where the TPM is, and its passwords.
#[derive(Debug, Clone, Args)]
pub struct TpmArgs {
    /// The TPM: a device's path, or a socket of swtpm's (`unix:<path>`, `tcp:<address>:<port>`).
    #[arg(long, value_name = "TPM", env = "SIGNET_TPM", default_value = "/dev/tpmrm0")]
    pub tpm: Address,
    /// A file with the password of the TPM's owner hierarchy; most machines have none.
    #[arg(long, value_name = "FILE")]
    pub tpm_owner_password_file: Option<PathBuf>,
    /// A file with the password of the TPM's endorsement hierarchy; most machines have none.
    #[arg(long, value_name = "FILE")]
    pub tpm_endorsement_password_file: Option<PathBuf>,
}

impl TpmArgs {
    /// Reads the passwords.
    ///
    /// # Errors
    /// A file cannot be read, everybody can, or it is too long.
    pub fn passwords(&self) -> anyhow::Result<Passwords> {
        let read = |file: &Option<PathBuf>| file.as_deref().map(password).transpose();
        Ok(Passwords {
            owner: read(&self.tpm_owner_password_file)?.unwrap_or_default(),
            endorsement: read(&self.tpm_endorsement_password_file)?.unwrap_or_default(),
        })
    }
}

fn password(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let file = path.display();
    let failed = || format!("failed to read {file}");
    let opened = File::open(path).with_context(failed)?;
    let mode = opened.metadata().with_context(failed)?.permissions().mode();
    ensure!(
        mode & OTHERS == 0,
        "everybody can use the password in {file}; take that away (chmod o= {file})"
    );
    let mut text = Zeroizing::new(Vec::with_capacity(PASSWORD + 1));
    let limit = u64::try_from(PASSWORD + 1).unwrap_or(u64::MAX);
    opened.take(limit).read_to_end(&mut text).with_context(failed)?;
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    ensure!(
        text.len() < PASSWORD,
        "{file} is too long for a password of a TPM"
    );
    Ok(text)
}
