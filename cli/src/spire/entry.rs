//! Entries as SPIRE writes them: `spire-server entry show -output json`, and the files of `entry create -data`.
//!
//! The first has SPIFFE IDs as objects and 64-bit numbers as texts, the second has them plain; both names of a field are
//! read, and no third form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Why a file is not SPIRE's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(
        "this is not the JSON of `spire-server entry show -output json`, nor of a file for `entry create -data`: {0}"
    )]
    Json(#[from] serde_json::Error),
    #[error(
        "the file is a page of a longer list: write all of it with `spire-server entry show -output json`"
    )]
    Page,
}

#[derive(Debug, Deserialize)]
struct File {
    entries: Vec<Entry>,
    #[serde(default, alias = "nextPageToken")]
    next_page_token: String,
}

/// One entry.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Entry {
    #[serde(default, alias = "entry_id", alias = "entryId")]
    pub(super) id: String,
    #[serde(alias = "spiffeId")]
    pub(super) spiffe_id: Id,
    #[serde(alias = "parentId")]
    pub(super) parent_id: Id,
    #[serde(default)]
    pub(super) selectors: Vec<Selector>,
    /// `ttl` is what it was called before SPIRE 1.5.
    #[serde(default, alias = "x509SvidTtl", alias = "ttl")]
    pub(super) x509_svid_ttl: Number,
    #[serde(default, alias = "jwtSvidTtl")]
    pub(super) jwt_svid_ttl: Number,
    #[serde(default, alias = "federatesWith")]
    pub(super) federates_with: Vec<String>,
    #[serde(default)]
    pub(super) hint: String,
    #[serde(default, alias = "dnsNames")]
    pub(super) dns_names: Vec<String>,
    #[serde(default)]
    pub(super) admin: bool,
    #[serde(default)]
    pub(super) downstream: bool,
    #[serde(default, alias = "storeSvid")]
    pub(super) store_svid: bool,
    #[serde(default, alias = "expiresAt", alias = "entryExpiry", alias = "entry_expiry")]
    pub(super) expires_at: Number,
    /// SPIRE's own book-keeping.
    #[serde(default, alias = "revisionNumber", rename = "revision_number")]
    _revision: Number,
    #[serde(default, alias = "createdAt", rename = "created_at")]
    _created: Number,
    /// What later versions of SPIRE may add.
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, Value>,
}

/// A selector.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Selector {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
}

/// A SPIFFE ID.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Text(String),
    Parts {
        #[serde(alias = "trustDomain")]
        trust_domain: String,
        path: String,
    },
}

impl Id {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts { trust_domain, path } => format!("spiffe://{trust_domain}{path}"),
        }
    }
}

/// A whole number, also as a text, as protobuf's JSON has those of 64 bits.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Plain(i64),
    Text(String),
}

impl Default for Number {
    fn default() -> Self {
        Self::Plain(0)
    }
}

impl Number {
    /// `None`: not a number.
    pub(super) fn value(&self) -> Option<i64> {
        match self {
            Self::Plain(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// Reads a file, whole.
pub(crate) fn read(text: &str) -> Result<Vec<Entry>, ReadError> {
    let file: File = serde_json::from_str(text)?;
    if !file.next_page_token.is_empty() {
        return Err(ReadError::Page);
    }
    Ok(file.entries)
}
