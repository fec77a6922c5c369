//! Join tokens: what a node trades for its first SVID.
//!
//! A token is an id, by which it is found, and a secret, of which only the SHA-256 is kept. It works once, for one node,
//! until it expires.

use std::fmt;
use std::net::IpAddr;

use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_spiffe::{NodeName, UnixTime};

use crate::addresses::is_dialable;
use crate::changes::Change;
use crate::cidr::PodCidr;
use crate::database::{Registry, StorageError, Write, moment, seconds};
use crate::lists;
use crate::node_entries;
use crate::nodes::{self, MAX_ADDRESSES, Node};
use crate::places::Places;
use crate::revocations;
use crate::sql::{self, Connection};
use crate::standing;

/// Most tokens that can be outstanding.
pub const MAX_TOKENS: i64 = 10_000;

/// Most pod CIDRs of one node.
pub const MAX_POD_CIDRS: usize = 16;

/// How long a dead token is remembered, so that one that comes back is known as used or expired. Seconds.
const REMEMBERED: i64 = 24 * 3600;

/// By what a token is found. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 8]);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A token to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// From a cryptographic random source.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    /// The node that it admits.
    pub node: NodeName,
    /// The node's pod CIDRs from its attestation on; none leaves those that it has.
    pub pod_cidrs: Vec<PodCidr>,
    /// What the node may announce beside the address that the CA sees; none leaves what it may already.
    pub addresses: Vec<IpAddr>,
    /// Until when it works.
    pub expires: UnixTime,
}

/// A token as someone showed it.
#[derive(Debug, Clone, Copy)]
pub struct PresentedToken {
    /// By what it is found.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
}

/// Why a token was not made. The operator is to blame.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// More than [`MAX_POD_CIDRS`].
    #[error("a node has at most {MAX_POD_CIDRS} pod CIDRs, not {count}")]
    TooManyCidrs {
        /// How many.
        count: usize,
    },
    /// More than [`MAX_ADDRESSES`].
    #[error("a node has at most {MAX_ADDRESSES} addresses, not {count}")]
    TooManyAddresses {
        /// How many.
        count: usize,
    },
    /// Unspecified, loopback, link-local, multicast, broadcast, or an IPv4 address written as IPv6.
    #[error("{0} is not an address that other nodes could dial")]
    NotDialable(IpAddr),
    /// Two of its own pod CIDRs share addresses.
    #[error("the pod CIDRs {first} and {second} overlap")]
    OverlapWithin {
        /// One.
        first: PodCidr,
        /// The other.
        second: PodCidr,
    },
    /// Another node has such addresses, or has been promised them by a token.
    #[error("the pod CIDR {cidr} overlaps {other}, which belongs to the node {node}")]
    Overlap {
        /// Of this token.
        cidr: PodCidr,
        /// Of the other node.
        other: PodCidr,
        /// The other node.
        node: NodeName,
    },
    /// The node is kept out.
    #[error("the node {node} is banned ({reason}); `signet ca evict {node}` lets it come back")]
    Banned {
        /// Which.
        node: NodeName,
        /// In the operator's words.
        reason: String,
    },
    /// [`MAX_TOKENS`] are outstanding.
    #[error("{MAX_TOKENS} join tokens are outstanding; wait until some expire")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a token was not accepted. For the log: whoever showed it is told no more than that it was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// No token has this id.
    #[error("no such join token: never made, or long dead")]
    Unknown,
    /// The id is right, the secret is not.
    #[error("the secret does not belong to the join token")]
    WrongSecret,
    /// It has been used.
    #[error("the join token was used before, for the node {node}")]
    Used {
        /// Whom it admitted.
        node: NodeName,
    },
    /// Its time is over.
    #[error("the join token for the node {node} has expired")]
    Expired {
        /// Whom it would have admitted.
        node: NodeName,
    },
    /// The node is kept out.
    #[error("the node {node} is banned: {reason}")]
    Banned {
        /// Whom it would have admitted.
        node: NodeName,
        /// In the operator's words.
        reason: String,
    },
    /// Its pod CIDRs went to another node since.
    #[error(transparent)]
    Overlap(Box<CreateTokenError>),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Registry {
    /// Makes a token.
    pub async fn create_token(&self, token: &NewToken, now: UnixTime) -> Result<(), CreateTokenError> {
        check_cidrs(&token.pod_cidrs)?;
        check_addresses(&token.addresses)?;
        let mut write = self.write().await?;
        forget_dead(write.connection(), now).await?;
        if let Some(ban) = revocations::ban(write.connection(), &token.node).await? {
            return Err(CreateTokenError::Banned {
                node: token.node.clone(),
                reason: ban.reason,
            });
        }
        let promised = outstanding(write.connection(), now).await?;
        if promised.len() >= usize::try_from(MAX_TOKENS).unwrap_or(usize::MAX) {
            return Err(CreateTokenError::TooMany);
        }
        check_owned(&token.node, &token.pod_cidrs, &*write.places().await?)?;
        let allowed = node_entries::promised(write.connection()).await?;
        check_overlap(&token.node, &token.pod_cidrs, promised.into_iter().chain(allowed))?;
        sql::query(
            "INSERT INTO join_tokens (id, secret_sha256, node, pod_cidrs, addresses, expires_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(token.id.0.as_slice())
        .bind(token.secret_sha256.as_slice())
        .bind(token.node.as_str())
        .bind(lists::join(&token.pod_cidrs))
        .bind(lists::join(&token.addresses))
        .bind(seconds(token.expires))
        .execute(write.connection())
        .await
        .map_err(StorageError::from)?;
        let made = digest(&token.node, &token.pod_cidrs, token.expires, false);
        write.log(ChangeKind::JoinToken, token.id.to_string(), None, Some(made));
        write.commit().await?;
        Ok(())
    }

    /// Uses a token up and admits its node, both or neither. A node that was known keeps its number, and its earlier SVIDs
    /// count no more.
    pub async fn consume_token(
        &self,
        presented: &PresentedToken,
        now: UnixTime,
    ) -> Result<Node, ConsumeError> {
        let mut write = self.write().await?;
        let token = find(write.connection(), presented.id)
            .await?
            .ok_or(ConsumeError::Unknown)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&token.secret_sha256, &presented.secret_sha256)
            .map_err(|_| ConsumeError::WrongSecret)?;
        if token.consumed {
            return Err(ConsumeError::Used { node: token.node });
        }
        if now >= token.expires {
            return Err(ConsumeError::Expired { node: token.node });
        }
        if let Some(ban) = revocations::ban(write.connection(), &token.node).await? {
            return Err(ConsumeError::Banned {
                node: token.node,
                reason: ban.reason,
            });
        }
        let before = {
            let places = write.places().await?;
            check_owned(&token.node, &token.pod_cidrs, &places)
                .map_err(|error| ConsumeError::Overlap(Box::new(error)))?;
            places.node(&token.node).map(Node::digest)
        };
        sql::query("UPDATE join_tokens SET consumed_at = ? WHERE id = ?")
            .bind(seconds(now))
            .bind(presented.id.0.as_slice())
            .execute(write.connection())
            .await
            .map_err(StorageError::from)?;
        nodes::admit(write.connection(), &token.node, &token.pod_cidrs, now).await?;
        nodes::allow(write.connection(), &token.node, &token.addresses).await?;
        standing::end(write.connection(), &token.node).await?;
        write.record(Change::Node(&token.node)).await?;
        let node = nodes::find(write.connection(), &token.node)
            .await?
            .ok_or(StorageError::Corrupt { column: "nodes.name" })?;
        let of_token = |consumed| Some(digest(&token.node, &token.pod_cidrs, token.expires, consumed));
        let id = presented.id.to_string();
        write.log(ChangeKind::JoinToken, id, of_token(false), of_token(true));
        write.log(ChangeKind::Node, token.node.as_str(), before, Some(node.digest()));
        write.commit().await?;
        Ok(node)
    }
}

/// What the issuance log has of a token. Nothing of its secret.
fn digest(node: &NodeName, pod_cidrs: &[PodCidr], expires: UnixTime, consumed: bool) -> Hash {
    Logged::digest(&[
        node.as_str(),
        &lists::join(pod_cidrs),
        &expires.as_secs().to_string(),
        if consumed { "consumed" } else { "outstanding" },
    ])
}

pub(crate) fn check_cidrs(cidrs: &[PodCidr]) -> Result<(), CreateTokenError> {
    if cidrs.len() > MAX_POD_CIDRS {
        return Err(CreateTokenError::TooManyCidrs { count: cidrs.len() });
    }
    for (position, &first) in cidrs.iter().enumerate() {
        if let Some(&second) = cidrs
            .iter()
            .skip(position + 1)
            .find(|second| second.overlaps(&first))
        {
            return Err(CreateTokenError::OverlapWithin { first, second });
        }
    }
    Ok(())
}

pub(crate) fn check_addresses(addresses: &[IpAddr]) -> Result<(), CreateTokenError> {
    if addresses.len() > MAX_ADDRESSES {
        return Err(CreateTokenError::TooManyAddresses {
            count: addresses.len(),
        });
    }
    let wrong = addresses.iter().find(|address| !is_dialable(**address));
    wrong.map_or(Ok(()), |wrong| Err(CreateTokenError::NotDialable(*wrong)))
}

/// Against what nodes have.
pub(crate) fn check_owned(
    node: &NodeName,
    cidrs: &[PodCidr],
    places: &Places,
) -> Result<(), CreateTokenError> {
    for &cidr in cidrs {
        if let Some((other, owner)) = places.overlap(node, cidr) {
            return Err(CreateTokenError::Overlap {
                cidr,
                other,
                node: owner.clone(),
            });
        }
    }
    Ok(())
}

/// Against what others have been promised.
pub(crate) fn check_overlap(
    node: &NodeName,
    cidrs: &[PodCidr],
    owned: impl Iterator<Item = (NodeName, Vec<PodCidr>)>,
) -> Result<(), CreateTokenError> {
    for (owner, others) in owned.filter(|(owner, _)| owner != node) {
        for &cidr in cidrs {
            if let Some(&other) = others.iter().find(|other| other.overlaps(&cidr)) {
                return Err(CreateTokenError::Overlap {
                    cidr,
                    other,
                    node: owner,
                });
            }
        }
    }
    Ok(())
}

struct Token {
    secret_sha256: Vec<u8>,
    node: NodeName,
    pod_cidrs: Vec<PodCidr>,
    addresses: Vec<IpAddr>,
    expires: UnixTime,
    consumed: bool,
}

async fn find(connection: &mut Connection, id: TokenId) -> Result<Option<Token>, StorageError> {
    let row: Option<(Vec<u8>, String, String, String, i64, bool)> = sql::query_as(
        "SELECT secret_sha256, node, pod_cidrs, addresses, expires_at, consumed_at IS NOT NULL FROM join_tokens
         WHERE id = ?",
    )
    .bind(id.0.as_slice())
    .fetch_optional(connection)
    .await?;
    let Some((secret_sha256, node, pod_cidrs, addresses, expires, consumed)) = row else {
        return Ok(None);
    };
    Ok(Some(Token {
        secret_sha256,
        node: node_name(&node)?,
        pod_cidrs: lists::split(&pod_cidrs, "join_tokens.pod_cidrs")?,
        addresses: lists::split(&addresses, "join_tokens.addresses")?,
        expires: moment(expires, "join_tokens.expires_at")?,
        consumed,
    }))
}

/// What tokens that still work have promised.
pub(crate) async fn outstanding(
    connection: &mut Connection,
    now: UnixTime,
) -> Result<Vec<(NodeName, Vec<PodCidr>)>, StorageError> {
    let rows: Vec<(String, String)> =
        sql::query_as("SELECT node, pod_cidrs FROM join_tokens WHERE consumed_at IS NULL AND expires_at > ?")
            .bind(seconds(now))
            .fetch_all(connection)
            .await?;
    let parse = |(node, cidrs): (String, String)| {
        Ok((node_name(&node)?, lists::split(&cidrs, "join_tokens.pod_cidrs")?))
    };
    rows.into_iter().map(parse).collect()
}

/// Deletes the tokens of a node that have not been used.
pub(crate) async fn withdraw(write: &mut Write<'_>, node: &NodeName) -> Result<(), StorageError> {
    let ids: Vec<(Vec<u8>,)> =
        sql::query_as("SELECT id FROM join_tokens WHERE node = ? AND consumed_at IS NULL")
            .bind(node.as_str())
            .fetch_all(write.connection())
            .await?;
    for (id,) in ids {
        let id = id.try_into().map(TokenId).map_err(|_| StorageError::Corrupt {
            column: "join_tokens.id",
        })?;
        let Some(token) = find(write.connection(), id).await? else {
            continue;
        };
        sql::query("DELETE FROM join_tokens WHERE id = ?")
            .bind(id.0.as_slice())
            .execute(write.connection())
            .await?;
        let was = digest(&token.node, &token.pod_cidrs, token.expires, false);
        write.log(ChangeKind::JoinToken, id.to_string(), Some(was), None);
    }
    Ok(())
}

async fn forget_dead(connection: &mut Connection, now: UnixTime) -> Result<(), StorageError> {
    sql::query("DELETE FROM join_tokens WHERE expires_at < ?")
        .bind(seconds(now).saturating_sub(REMEMBERED))
        .execute(connection)
        .await?;
    Ok(())
}

fn node_name(text: &str) -> Result<NodeName, StorageError> {
    NodeName::parse(text).map_err(|_| StorageError::Corrupt {
        column: "join_tokens.node",
    })
}
