//! The CA's private keys in a device: a hardware security module, a smart card, `SoftHSM`. Keys are made there and never leave
//! it; a signature is a call.
//!
//! The device's maker gives a module, a library that is loaded at run time and speaks PKCS #11 (2.40 or 3.x). It runs inside
//! this process: whoever can replace the file is the CA.

mod device;
mod error;
mod key;
mod manager;
mod settings;
mod spki;
mod uri;

pub use error::DeviceError;
pub use manager::Pkcs11Keys;
pub use settings::Pkcs11Settings;
pub use uri::{Pkcs11Uri, UriError};
