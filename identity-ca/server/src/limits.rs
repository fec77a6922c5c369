//! Every bound on what comes from outside, in one place.

use std::time::Duration;

/// Connections at once.
pub(crate) const CONNECTIONS: usize = 16_384;

/// Connections at once that have not shown a node's SVID (to operators' listener: that of one with a role): in their handshake,
/// or about to attest.
pub(crate) const ANONYMOUS: usize = 256;

/// The same, from one address.
pub(crate) const ANONYMOUS_PER_ADDRESS: usize = 32;

/// Operators at once that watch what happens.
pub(crate) const WATCHERS: usize = 64;

/// Streams at once of one CA below this one: of its replicas, and what hangs of streams that were lost.
pub(crate) const FOLLOWERS: usize = 16;

/// For the TLS handshake.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);

/// What strangers can make the CA log, and in what time.
pub(crate) const TOLD: u32 = 10;
pub(crate) const TOLD_PER: Duration = Duration::from_secs(10);

/// For all that such a connection has to say.
pub(crate) const ANONYMOUS_LIFE: Duration = Duration::from_secs(20);

/// For all of an exchange by which a node is admitted.
pub(crate) const ATTESTATION: Duration = Duration::from_secs(10);

/// How long a connection outlives the SVID that opened it, so that the last answer still goes out.
pub(crate) const EXPIRED_GRACE: Duration = Duration::from_secs(5);

/// For a call, up to its first answer.
pub(crate) const CALL: Duration = Duration::from_secs(20);

/// Streams at once over one connection.
pub(crate) const STREAMS: u32 = 64;

/// Headers of a call, bytes.
pub(crate) const HEADERS: u32 = 16 * 1024;

/// A message to the CA, bytes: the largest is a certificate request, or a registration with sixteen long paths.
pub(crate) const REQUEST: usize = 128 * 1024;

/// A message of the operator, bytes: the largest has a bundle of another trust domain, or the CAs of a private web PKI.
pub(crate) const ORDER: usize = 16 * 1024 * 1024;

/// A message from the CA, bytes: the largest is a snapshot.
pub(crate) const RESPONSE: usize = 64 * 1024 * 1024;

/// HTTP/2 pings on an idle connection, and the wait for their answer.
pub(crate) const PING: Duration = Duration::from_secs(20);
pub(crate) const PONG: Duration = Duration::from_secs(10);

/// How long a node may leave an update unread before its stream is ended, so that it comes back and resumes.
pub(crate) const UNREAD: Duration = Duration::from_secs(30);

/// The same where the node does read it, piece by piece: what it holds up is kept for it alone.
pub(crate) const UNREAD_AT_ALL: Duration = Duration::from_mins(5);

/// Snapshots at once that are on their way to nodes: each is as long as all that there is.
pub(crate) const SNAPSHOTS: usize = 32;

/// How old a snapshot may be that is sent once more while many want one. What came since follows it.
pub(crate) const SNAPSHOT_AGE: Duration = Duration::from_millis(500);

/// While changes come one after another, nodes are told at most this often, times the number of those that follow. The first
/// change after a quiet time is told at once.
pub(crate) const GATHER_PER_NODE: Duration = Duration::from_micros(40);

/// For a node to read why its stream ends.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Entries of the issuance log in one message.
pub(crate) const LOG_PAGE: u32 = 256;

/// How often a head of the issuance log is signed, where entries were added.
pub(crate) const LOG_CHECKPOINT: Duration = Duration::from_mins(1);

/// For open calls to end once the server is told to.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(5);

/// Life of a join token where nothing else is said, and at most.
pub(crate) const TOKEN_TTL: u32 = 600;
pub(crate) const MAX_TOKEN_TTL: u32 = 86_400;

/// How long a CA that starts waits for another one on the same directory to end.
pub(crate) const LOCK: Duration = Duration::from_secs(2);

/// For a bundle of another trust domain: connections, redirects and all.
pub(crate) const FETCH: Duration = Duration::from_secs(15);

/// Headers of the answer then, bytes.
pub(crate) const FETCH_HEAD: usize = 64 * 1024;

/// After a change of the registry, until it is looked whether relationships changed.
pub(crate) const FEDERATION_SETTLE: Duration = Duration::from_millis(100);

/// Connections at once to the bundle endpoint, and from one address.
pub(crate) const ENDPOINT_CONNECTIONS: usize = 256;
pub(crate) const ENDPOINT_PER_ADDRESS: usize = 32;

/// Of a request there: header lines, and bytes.
pub(crate) const ENDPOINT_HEADERS: usize = 64;
pub(crate) const ENDPOINT_HEAD: usize = 16 * 1024;

/// How long a connection there may last.
pub(crate) const ENDPOINT_LIFE: Duration = Duration::from_secs(30);

/// Calls that were refused, and are written down in the audit stream, and in what time.
pub(crate) const AUDITED: u32 = 100;
pub(crate) const AUDITED_PER: Duration = Duration::from_secs(1);

/// Most registrations of one call: with the longest of everything they would not fit into [`ORDER`] anyway.
pub(crate) const REGISTRATIONS_AT_ONCE: usize = 10_000;
