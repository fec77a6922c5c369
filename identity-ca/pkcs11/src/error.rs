//! What goes wrong with devices.

use cryptoki::error::{Error, RvError};
use signet_keys::{SecretFileError, SignError};

/// Why a device did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The module's file.
    #[error("the PKCS #11 module {module} cannot be loaded: {reason}; give the file's absolute path")]
    Module {
        /// The file.
        module: String,
        /// What the loader said.
        reason: String,
    },
    /// No such token.
    #[error("no token fits {wanted}; the module knows: {known}")]
    NoToken {
        /// What was asked for.
        wanted: String,
        /// Labels and serial numbers.
        known: String,
    },
    /// More than one.
    #[error("several tokens fit {wanted}: {known}; say which by serial=")]
    SeveralTokens {
        /// What was asked for.
        wanted: String,
        /// Labels and serial numbers.
        known: String,
    },
    /// The PIN's file.
    #[error("the token's PIN: {0}")]
    PinFile(#[from] SecretFileError),
    /// Not text.
    #[error("the token's PIN in {0} is no text")]
    PinForm(String),
    /// Every further attempt would bring the token nearer to locking itself.
    #[error(
        "the token refused the PIN ({0}): it is not tried again before a restart, because tokens lock themselves; put the right one into its file"
    )]
    Pin(String),
    /// Something that comes and goes: the device is unplugged, the network is gone.
    #[error("the token does not answer ({0}); it is tried again with the next signature")]
    Lost(String),
    /// It answered, with no.
    #[error("the token refused: {0}")]
    Refused(String),
    /// The key is not there.
    #[error("the token has no such key: was it deleted, or is this another token?")]
    NoKey,
    /// The key there is not the one that the registry knows.
    #[error("the token's key under this ID is another one than in the registry")]
    OtherKey,
    /// A key that could be taken out of the token.
    #[error(
        "the token made a key that can be taken out of it, which is no key for a CA; it was deleted there"
    )]
    Extractable,
}

impl DeviceError {
    /// Whether opening the token anew could help.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

impl From<Error> for DeviceError {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(code, function) = &error else {
            return Self::Refused(error.to_string());
        };
        let said = format!("{function}: {code:?}");
        if is_pin(code) {
            Self::Pin(said)
        } else if is_loss(code) {
            Self::Lost(said)
        } else {
            Self::Refused(said)
        }
    }
}

impl From<DeviceError> for SignError {
    fn from(error: DeviceError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

fn is_pin(code: &RvError) -> bool {
    use RvError as E;
    matches!(
        code,
        E::PinIncorrect
            | E::PinInvalid
            | E::PinLenRange
            | E::PinExpired
            | E::PinLocked
            | E::UserPinNotInitialized
    )
}

/// What a session that has ended, or a device that is gone, is told by; devices differ in what they say.
fn is_loss(code: &RvError) -> bool {
    use RvError as E;
    matches!(
        code,
        E::SessionHandleInvalid
            | E::SessionClosed
            | E::SessionCount
            | E::DeviceRemoved
            | E::DeviceError
            | E::DeviceMemory
            | E::TokenNotPresent
            | E::TokenNotRecognized
            | E::UserNotLoggedIn
            | E::CryptokiNotInitialized
            | E::KeyHandleInvalid
            | E::ObjectHandleInvalid
            | E::SlotIdInvalid
            | E::GeneralError
            | E::FunctionFailed
            | E::HostMemory
    )
}
