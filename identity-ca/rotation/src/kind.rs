//! What an authority signs, and what it is called.

use std::fmt;
use std::str::FromStr;

/// What an authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityKind {
    /// X.509-SVIDs, and lists of those that are revoked.
    X509,
    /// JWT-SVIDs.
    Jwt,
    /// WIT-SVIDs, where those are on.
    Wit,
}

/// None of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an authority is of the kind x509, jwt or wit")]
pub struct KindError;

impl AuthorityKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X509, Self::Jwt, Self::Wit];

    /// `x509`, `jwt` or `wit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
            Self::Wit => "wit",
        }
    }
}

impl fmt::Display for AuthorityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuthorityKind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(KindError)
    }
}

/// What an authority is called: an X.509 authority's subject key identifier in hexadecimal, a JWT or WIT key's `kid`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId(String);

/// No name of an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an authority's id has 1 to {} letters, digits, - or _", AuthorityId::LONGEST)]
pub struct AuthorityIdError;

impl AuthorityId {
    /// Most characters.
    pub const LONGEST: usize = 64;

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AuthorityId {
    type Err = AuthorityIdError;

    fn from_str(text: &str) -> Result<Self, AuthorityIdError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned())).ok_or(AuthorityIdError)
    }
}
