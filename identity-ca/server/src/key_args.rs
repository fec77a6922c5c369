//! What the command line says of keys.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use signet_ca::{Clock, Database, KekSource, KeyManagerName, KeyOptions, Rewrap};
use signet_keys::{SecretFile, credential};
use signet_pkcs11::{Pkcs11Settings, Pkcs11Uri};

/// Names of systemd's credentials.
const KEK: &str = "signet-ca.kek";
const PASSPHRASE: &str = "signet-ca.passphrase";
const PIN: &str = "signet-ca.pkcs11-pin";

/// Where the CA's private keys live.
#[derive(Debug, Args)]
#[command(next_help_heading = "Keys")]
pub(crate) struct KeyArgs {
    /// Who makes and keeps the CA's private keys: `memory` (with --in-memory), `sealed` (in the registry, encrypted) or `pkcs11` (in a
    /// device) [default: memory or sealed, as goes with the storage]. Keys that another one made stay in use until they are rotated.
    #[arg(long, value_enum, value_name = "NAME")]
    key_manager: Option<Manager>,

    #[command(flatten)]
    kek: KekArgs,

    #[command(flatten)]
    pkcs11: Pkcs11Args,
}

/// The device with keys.
#[derive(Debug, Args)]
struct Pkcs11Args {
    /// The token, as in `pkcs11:token=signet-ca?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/signet/pin` (RFC 7512).
    /// Never the PIN itself.
    #[arg(
        id = "pkcs11_uri",
        long = "pkcs11-uri",
        value_name = "URI",
        conflicts_with = "in_memory"
    )]
    uri: Option<Pkcs11Uri>,

    /// The device's PKCS #11 module, an absolute path. It is loaded into this process.
    #[arg(
        id = "pkcs11_module",
        long = "pkcs11-module",
        value_name = "FILE",
        conflicts_with = "in_memory"
    )]
    module: Option<PathBuf>,

    /// The token's label, instead of --pkcs11-uri.
    #[arg(id = "pkcs11_token", long = "pkcs11-token", value_name = "LABEL", conflicts_with_all = ["pkcs11_uri", "in_memory"], requires = "pkcs11_module")]
    token: Option<String>,

    /// File with the token's PIN. systemd's credential `signet-ca.pkcs11-pin` is taken without being named.
    #[arg(
        id = "pkcs11_pin_file",
        long = "pkcs11-pin-file",
        value_name = "FILE",
        conflicts_with = "in_memory"
    )]
    pin_file: Option<PathBuf>,
}

impl Pkcs11Args {
    fn settings(self, credentials: Option<&Path>) -> anyhow::Result<Option<Pkcs11Settings>> {
        let (uri, label) = (self.uri, self.token);
        let module = self.module;
        let token = match (uri, label) {
            (Some(uri), None) => uri,
            (None, Some(label)) => Pkcs11Uri {
                token: Some(label),
                ..Pkcs11Uri::default()
            },
            (None, None) if module.is_none() => return Ok(None),
            (None, None) | (Some(_), Some(_)) => bail!("say which token: --pkcs11-uri, or --pkcs11-token"),
        };
        let module = module.or_else(|| token.module_path.clone());
        let module = module.context("say which module: --pkcs11-module, or module-path= in the URI")?;
        let named = self.pin_file.or_else(|| token.pin_source.clone());
        let pin = named
            .map(SecretFile::new)
            .or_else(|| credential(credentials, PIN));
        let pin = pin.context("say where the PIN is: --pkcs11-pin-file, pin-source= in the URI, or the credential signet-ca.pkcs11-pin")?;
        Ok(Some(Pkcs11Settings { module, token, pin }))
    }
}

/// What the keys in the registry are sealed under.
#[derive(Debug, Args)]
pub(crate) struct KekArgs {
    /// File with the key that sealed keys are encrypted under: 32 bytes, as 64 hexadecimal digits, in base 64 or plain. The same for all
    /// CAs on a database. systemd's credential `signet-ca.kek` is taken without being named [default: key-encryption.key in the data
    /// directory, made at the first start].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_passphrase_file", "in_memory"])]
    key_encryption_key_file: Option<PathBuf>,

    /// File with a passphrase instead, of 12 bytes or more; the key comes out of it by Argon2id. systemd's credential
    /// `signet-ca.passphrase` is taken without being named.
    #[arg(long, value_name = "FILE", conflicts_with = "in_memory")]
    key_passphrase_file: Option<PathBuf>,
}

/// Key managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Manager {
    /// Ends with the process.
    Memory,
    /// In the registry, encrypted.
    Sealed,
    /// In a device.
    Pkcs11,
}

impl KeyArgs {
    /// `credentials` is `$CREDENTIALS_DIRECTORY`.
    pub(crate) fn options(self, in_memory: bool, credentials: Option<&Path>) -> anyhow::Result<KeyOptions> {
        let manager = match (self.key_manager, in_memory) {
            (Some(Manager::Memory), false) => bail!(
                "keys in memory go with --in-memory: a registry that lasts would have certificates of keys that do not"
            ),
            (Some(Manager::Sealed | Manager::Pkcs11), true) => {
                bail!("with --in-memory keys are in memory, too: give --data-dir for others")
            }
            (Some(Manager::Memory) | None, true) => KeyManagerName::Memory,
            (Some(Manager::Sealed) | None, false) => KeyManagerName::Sealed,
            (Some(Manager::Pkcs11), false) => KeyManagerName::Pkcs11,
        };
        let pkcs11 = self.pkcs11.settings(credentials)?;
        if manager == KeyManagerName::Pkcs11 && pkcs11.is_none() {
            bail!("say where the device is: --pkcs11-uri, or --pkcs11-module and --pkcs11-token");
        }
        let kek = if in_memory {
            KekSource::DataDirectory
        } else {
            self.kek.source(credentials)?
        };
        Ok(KeyOptions { manager, kek, pkcs11 })
    }
}

impl KekArgs {
    fn source(self, credentials: Option<&Path>) -> anyhow::Result<KekSource> {
        if let Some(path) = self.key_encryption_key_file {
            return Ok(KekSource::KeyFile(SecretFile::new(path)));
        }
        if let Some(path) = self.key_passphrase_file {
            return Ok(KekSource::PassphraseFile(SecretFile::new(path)));
        }
        match (credential(credentials, KEK), credential(credentials, PASSPHRASE)) {
            (Some(_), Some(_)) => {
                bail!(
                    "there are the credentials {KEK} and {PASSPHRASE}: the keys are sealed under one of them"
                )
            }
            (Some(key), None) => Ok(KekSource::KeyFile(key)),
            (None, Some(words)) => Ok(KekSource::PassphraseFile(words)),
            (None, None) => Ok(KekSource::DataDirectory),
        }
    }
}

/// Another key-encryption key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  signet-ca rewrap-keys --data-dir /var/lib/signet-ca --new-key-encryption-key-file /etc/signet/kek
  signet-ca rewrap-keys --data-dir /var/lib/signet-ca --key-encryption-key-file /etc/signet/kek --new-key-passphrase-file /etc/signet/words
  signet-ca rewrap-keys --data-dir /var/lib/signet-ca --new-key-in-data-dir

With SQLite stop the CA first. On PostgreSQL CAs go on with the keys that they have, and cannot open later ones until they are
started with the new key. The signing keys stay as they are: where the old key may be known together with a copy of the database, rotate
them as well.")]
pub(crate) struct RewrapArgs {
    /// The CA's data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// Database of the registry, as for `signet-ca run` [default: registry.db in the data directory].
    #[arg(long, value_name = "URL", env = "SIGNET_CA_DATABASE", hide_env_values = true)]
    database: Option<Database>,

    /// File with the key that the keys are sealed under now.
    #[arg(long, value_name = "FILE", conflicts_with = "key_passphrase_file")]
    key_encryption_key_file: Option<PathBuf>,

    /// File with the passphrase that they are sealed under now.
    #[arg(long, value_name = "FILE")]
    key_passphrase_file: Option<PathBuf>,

    #[command(flatten)]
    new: NewKek,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct NewKek {
    /// File with the new key: 32 bytes, as 64 hexadecimal digits, in base 64 or plain.
    #[arg(long = "new-key-encryption-key-file", value_name = "FILE")]
    file: Option<PathBuf>,

    /// File with the new passphrase.
    #[arg(long = "new-key-passphrase-file", value_name = "FILE")]
    passphrase: Option<PathBuf>,

    /// A new key in the data directory, in place of the one that may be there.
    #[arg(long = "new-key-in-data-dir")]
    in_data_dir: bool,
}

impl RewrapArgs {
    pub(crate) async fn run(self, credentials: Option<&Path>) -> anyhow::Result<()> {
        let current = KekArgs {
            key_encryption_key_file: self.key_encryption_key_file,
            key_passphrase_file: self.key_passphrase_file,
        };
        let new = KekArgs {
            key_encryption_key_file: self.new.file,
            key_passphrase_file: self.new.passphrase,
        };
        let rewrap = Rewrap {
            directory: self.data_dir,
            database: self.database,
            from: current.source(credentials)?,
            to: new.source(None)?,
            clock: Clock::system(),
        };
        rewrap.run().await.context("the keys were not sealed anew")
    }
}
