//! Which SVIDs count no more although their time is not over.
//!
//! A certificate is revoked by itself (its serial number), with all that its SPIFFE ID was issued up to a moment, with all
//! that a node asked for up to a moment, or with the authority that signed it. JWT-SVIDs go with their SPIFFE ID or node, or
//! by their `jti`, which is a serial number. [`Revocations`] belongs to the [`BundleSet`](crate::BundleSet) that SVIDs are verified
//! against, so no verifier can forget to ask.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls_pki_types::UnixTime;

use crate::id::SpiffeId;
use crate::jwt::VerifiedJwtSvid;
use crate::svid::VerifiedSvid;
use crate::trust_domain::TrustDomain;

/// Longest serial number and key identifier that are read, bytes (RFC 5280 §4.1.2.2; an identifier is a digest).
pub const MAX_SERIAL_BYTES: usize = 20;
const MAX_KEY_ID_BYTES: usize = 64;

/// A certificate's serial number: big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber(Box<[u8]>);

/// The subject key identifier of a signing certificate (RFC 5280 §4.2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<[u8]>);

/// Why a text is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Not hexadecimal.
    #[error("write it as hexadecimal digits, with or without colons between the bytes")]
    NotHex,
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Longer than certificates have it.
    #[error("it is longer than any certificate has it")]
    TooLong,
}

impl SerialNumber {
    /// Of these bytes, big-endian.
    pub fn new(bytes: &[u8]) -> Result<Self, HexError> {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        match bytes.get(first..).unwrap_or_default() {
            [] => Err(HexError::Empty),
            // One byte more: a positive number whose first bit is set has a zero in front of it, which is cut already.
            long if long.len() > MAX_SERIAL_BYTES => Err(HexError::TooLong),
            bytes => Ok(Self(bytes.into())),
        }
    }

    /// Big-endian, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl KeyId {
    /// Of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, HexError> {
        match bytes.len() {
            0 => Err(HexError::Empty),
            1..=MAX_KEY_ID_BYTES => Ok(Self(bytes.into())),
            _ => Err(HexError::TooLong),
        }
    }

    /// As in the certificate.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn hex(text: &str) -> Result<Vec<u8>, HexError> {
    let mut digits: String = text
        .chars()
        .filter(|character| *character != ':')
        .take(2 * MAX_KEY_ID_BYTES + 2)
        .collect();
    digits.make_ascii_lowercase();
    if digits.len() % 2 == 1 {
        digits.insert(0, '0');
    }
    HEXLOWER.decode(digits.as_bytes()).map_err(|_| HexError::NotHex)
}

impl FromStr for SerialNumber {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        Self::new(&hex(text)?)
    }
}

impl FromStr for KeyId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        Self::new(&hex(text)?)
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One certificate, or one token.
    Serial(SerialNumber),
    /// Every certificate of a SPIFFE ID whose validity begins at this moment or before it.
    Id {
        /// Whose.
        id: SpiffeId,
        /// The last beginning of validity that is revoked.
        until: UnixTime,
        /// When it was revoked: tokens that were issued then or before go with it. Certificates are backdated, tokens are not.
        at: UnixTime,
    },
    /// Every certificate that a node asked for, by its serial number, whose validity begins at this moment or before it.
    Node {
        /// The node's number.
        number: u16,
        /// The last beginning of validity that is revoked.
        until: UnixTime,
        /// As above.
        at: UnixTime,
    },
    /// Every certificate below a signing key.
    Authority(KeyId),
}

/// By what an SVID is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedBy {
    /// Its serial number.
    Serial,
    /// Its SPIFFE ID.
    Id,
    /// The node that asked for it.
    Node,
    /// The authority that signed it, or one further up.
    Authority,
    /// A revocation that this program cannot read, and so takes to mean everything.
    Unreadable,
}

impl fmt::Display for RevokedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serial => "by its serial number",
            Self::Id => "by its SPIFFE ID",
            Self::Node => "with the node that asked for it",
            Self::Authority => "with its authority",
            Self::Unreadable => "because a revocation cannot be read",
        })
    }
}

/// The SVID that was looked at counts no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the SVID {serial} of {id} is revoked {by}: {reason}")]
pub struct Revoked {
    /// Whose.
    pub id: SpiffeId,
    /// Which.
    pub serial: String,
    /// By what.
    pub by: RevokedBy,
    /// In the operator's words.
    pub reason: Arc<str>,
}

/// Up to where something is revoked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cut {
    until: UnixTime,
    at: UnixTime,
    reason: Arc<str>,
}

impl Cut {
    /// Of two for one subject the one that reaches further counts.
    fn enter<K: Ord>(mut self, subject: K, cuts: &mut BTreeMap<K, Self>) {
        if let Some(before) = cuts.get(&subject) {
            if before.until > self.until {
                self.reason = before.reason.clone();
            }
            self.until = self.until.max(before.until);
            self.at = self.at.max(before.at);
        }
        cuts.insert(subject, self);
    }

    fn meets(&self, svid: &VerifiedSvid) -> Option<Arc<str>> {
        (svid.not_before() <= self.until).then(|| self.reason.clone())
    }

    /// A token that does not say when it was issued is taken to be old.
    fn meets_token(&self, token: &TokenFacts<'_>) -> Option<Arc<str>> {
        token
            .issued
            .is_none_or(|issued| issued <= self.at)
            .then(|| self.reason.clone())
    }
}

/// What of a token says which revocations mean it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenFacts<'a> {
    pub(crate) id: &'a SpiffeId,
    /// Its `jti`.
    pub(crate) token_id: Option<&'a str>,
    /// Its `iat`.
    pub(crate) issued: Option<UnixTime>,
}

/// All that is revoked at a moment.
///
/// Serial numbers and the numbers of nodes are one CA's: another trust domain's CA gives the same ones to others. The default
/// knows no trust domain, and so takes what has been inserted to mean every one's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Whose serial numbers and nodes are meant.
    numbers_of: Option<TrustDomain>,
    serials: BTreeMap<SerialNumber, Arc<str>>,
    ids: BTreeMap<SpiffeId, Cut>,
    nodes: BTreeMap<u16, Cut>,
    authorities: BTreeMap<KeyId, Arc<str>>,
    unreadable: Option<Arc<str>>,
}

impl Revocations {
    /// Nothing yet; the serial numbers and nodes to come are this trust domain's.
    pub fn of(trust_domain: TrustDomain) -> Self {
        Self {
            numbers_of: Some(trust_domain),
            ..Self::default()
        }
    }

    /// Adds one. Of two for one SPIFFE ID or node the one that reaches further counts.
    pub fn insert(&mut self, subject: Subject, reason: Arc<str>) {
        match subject {
            Subject::Serial(serial) => {
                self.serials.insert(serial, reason);
            }
            Subject::Authority(key) => {
                self.authorities.insert(key, reason);
            }
            Subject::Id { id, until, at } => Cut { until, at, reason }.enter(id, &mut self.ids),
            Subject::Node { number, until, at } => Cut { until, at, reason }.enter(number, &mut self.nodes),
        }
    }

    /// From now on everything is revoked: there is a revocation that cannot be understood, so nobody knows whom it means.
    pub fn revoke_everything(&mut self, reason: Arc<str>) {
        self.unreadable = Some(reason);
    }

    /// Why everything is revoked, where it is.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Those that can be read: for the one peer that can tell what the others mean.
    #[must_use]
    pub fn readable(&self) -> Self {
        Self {
            unreadable: None,
            ..self.clone()
        }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self
            == Self {
                numbers_of: self.numbers_of.clone(),
                ..Self::default()
            }
    }

    /// The serial number of an SVID of `id`, where it is one of those that are meant.
    fn meant(&self, id: &SpiffeId, serial: Option<SerialNumber>) -> Option<SerialNumber> {
        let ours = self
            .numbers_of
            .as_ref()
            .is_none_or(|ours| ours == id.trust_domain());
        serial.filter(|_| ours)
    }

    /// Whether what has this serial number, of the trust domain that is meant, is revoked by it.
    pub fn has_serial(&self, serial: &SerialNumber) -> bool {
        self.serials.contains_key(serial)
    }

    /// Whether everything below this signing key is revoked.
    pub fn has_authority(&self, key: &KeyId) -> bool {
        self.authorities.contains_key(key)
    }

    /// Says whether an SVID still counts.
    pub fn check(&self, svid: &VerifiedSvid) -> Result<(), Revoked> {
        let found = self.find(svid);
        found.map_or(Ok(()), |(by, reason)| {
            Err(Revoked {
                id: svid.id().clone(),
                serial: HEXLOWER.encode(svid.serial()),
                by,
                reason,
            })
        })
    }

    /// Says whether a token still counts. One that another program has signed has a `jti` that names no node, if any.
    pub fn check_token(&self, svid: &VerifiedJwtSvid) -> Result<(), Revoked> {
        svid.check(self)
    }

    /// The same of a token of any kind.
    pub(crate) fn check_facts(&self, token: &TokenFacts<'_>) -> Result<(), Revoked> {
        self.find_token(token).map_or(Ok(()), |(by, reason)| {
            Err(Revoked {
                id: token.id.clone(),
                serial: token.token_id.unwrap_or("without jti").to_owned(),
                by,
                reason,
            })
        })
    }

    fn find_token(&self, token: &TokenFacts<'_>) -> Option<(RevokedBy, Arc<str>)> {
        if let Some(reason) = &self.unreadable {
            return Some((RevokedBy::Unreadable, reason.clone()));
        }
        let serial = token.token_id.and_then(|id| id.parse::<SerialNumber>().ok());
        let serial = self.meant(token.id, serial);
        if let Some(reason) = serial.as_ref().and_then(|serial| self.serials.get(serial)) {
            return Some((RevokedBy::Serial, reason.clone()));
        }
        let by_id = self.ids.get(token.id).and_then(|cut| cut.meets_token(token));
        if let Some(reason) = by_id {
            return Some((RevokedBy::Id, reason));
        }
        let node = serial.and_then(|serial| self.nodes.get(&serial.node()?));
        let reason = node.and_then(|cut| cut.meets_token(token))?;
        Some((RevokedBy::Node, reason))
    }

    fn find(&self, svid: &VerifiedSvid) -> Option<(RevokedBy, Arc<str>)> {
        if let Some(reason) = &self.unreadable {
            return Some((RevokedBy::Unreadable, reason.clone()));
        }
        // Every certificate that verifies has a serial number; were it not one of ours, it would match none.
        let serial = self.meant(svid.id(), SerialNumber::new(svid.serial()).ok());
        if let Some(reason) = serial.as_ref().and_then(|serial| self.serials.get(serial)) {
            return Some((RevokedBy::Serial, reason.clone()));
        }
        if let Some(reason) = self.ids.get(svid.id()).and_then(|cut| cut.meets(svid)) {
            return Some((RevokedBy::Id, reason));
        }
        let node = serial.and_then(|serial| self.nodes.get(&serial.node()?));
        if let Some(reason) = node.and_then(|cut| cut.meets(svid)) {
            return Some((RevokedBy::Node, reason));
        }
        let by_authority = svid
            .authorities()
            .iter()
            .find_map(|key| self.authorities.get(key));
        by_authority.map(|reason| (RevokedBy::Authority, reason.clone()))
    }

    /// The revocation of a SPIFFE ID, if there is one: the last beginning of validity that it reaches, the last moment at
    /// which tokens that it reaches were issued, and why.
    pub fn of_id(&self, id: &SpiffeId) -> Option<(UnixTime, UnixTime, &str)> {
        let cut = self.ids.get(id)?;
        Some((cut.until, cut.at, cut.reason.as_ref()))
    }
}
