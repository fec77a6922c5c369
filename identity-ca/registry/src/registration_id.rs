//! Names of registrations.

use std::fmt;
use std::str::FromStr;

/// A random UUID (RFC 9562 §5.4), written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(u128);

/// Why a text names no registration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a registration id is a UUID in lower case, as `signet ca list` shows it")]
pub struct RegistrationIdError;

impl RegistrationId {
    /// A version 4 UUID of these bytes, which must come from a cryptographic random source.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let version = 0x4000_u128 << 64;
        let variant = 0x8000_u128 << 48;
        let random = u128::from_be_bytes(bytes) & !(0xf000_u128 << 64) & !(0xc000_u128 << 48);
        Self(random | version | variant)
    }
}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let part = |range| hex.get(range).unwrap_or_default();
        write!(
            f,
            "{}-{}-{}-{}-{}",
            part(0..8),
            part(8..12),
            part(12..16),
            part(16..20),
            part(20..32)
        )
    }
}

impl FromStr for RegistrationId {
    type Err = RegistrationIdError;

    fn from_str(text: &str) -> Result<Self, RegistrationIdError> {
        if text.len() != 36 {
            return Err(RegistrationIdError);
        }
        let id = u128::from_str_radix(&text.replace('-', ""), 16)
            .map(Self)
            .map_err(|_| RegistrationIdError)?;
        // Whatever else reads as a number is not how we write it.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(RegistrationIdError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_version_4_uuid_in_one_spelling() {
        let id = RegistrationId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(
            RegistrationId::from_random([0; 16]).to_string(),
            "00000000-0000-4000-8000-000000000000"
        );
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF",
            "ffffffff-ffff-4fff-bfff-fffffffffff",
            &"f".repeat(36),
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
            "fffffffff-fff-4fff-bfff-ffffffffffff",
        ] {
            assert_eq!(bad.parse::<RegistrationId>(), Err(RegistrationIdError), "{bad}");
        }
    }
}
