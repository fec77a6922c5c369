//! What leads to the device.

use std::path::PathBuf;

use signet_keys::SecretFile;

use crate::uri::Pkcs11Uri;

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Settings {
    /// The module's file, an absolute path.
    pub module: PathBuf,
    /// Which of the tokens that it knows; each part that is given has to fit.
    pub token: Pkcs11Uri,
    /// The file with the user's PIN, read whenever the token is opened.
    pub pin: SecretFile,
}
