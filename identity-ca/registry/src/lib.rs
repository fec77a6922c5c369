//! The CA's record of nodes, registrations, security identities, and of what was issued and revoked.
//!
//! SQLite or PostgreSQL behind a handful of operations. Each mutation is one transaction that also writes the change log,
//! so that a reader who knows everything up to a [`Position`] can be told the rest ([`Registry::changes_since`]), and the
//! issuance log, which says who did it ([`Registry::acting`]). Issuances get into that log through a [`LogWriter`]. Time
//! and randomness are arguments; the [`Mark`]s of revisions alone are drawn here.

mod addresses;
mod authorities;
mod authority_requests;
mod changes;
mod cidr;
mod database;
mod federation;
mod feed;
mod gathered;
mod guard;
mod identities;
mod issued;
mod lists;
mod live;
mod log;
mod many;
mod nested;
mod node_entries;
mod nodes;
mod places;
mod position;
mod postgres;
mod registering;
mod registration_changes;
mod registration_id;
mod registration_rows;
mod registrations;
mod revocation;
mod revocations;
mod sealed;
mod selector;
mod settings;
mod sql;
mod standing;
mod terms;
mod tokens;

pub use addresses::is_dialable;
pub use authorities::{
    Adopted, Authorities, AuthorityError, NewAuthority, PublishedBundle, RequestedError, StoredAuthority,
};
pub use authority_requests::MAX_AUTHORITY_REQUESTS;
pub use changes::{Changes, MAX_CHANGES, Revision};
pub use cidr::{CidrError, PodCidr};
pub use database::{Registry, StorageError};
pub use federation::{FederateError, Federated, ForeignBundle, MAX_RELATIONSHIPS, StoreDocumentError};
pub use feed::{NodeChanges, Step, Stepped};
pub use guard::Guard;
pub use identities::{FIRST_IDENTITY, Identity, QUARANTINE};
pub use issued::{RevokedCertificate, weigh};
pub use live::{Live, LiveSvids};
pub use log::{AppendError, Coming, LogWriter, MAX_WAITING, StoredCheckpoint, StoredLeaf};
pub use nested::{
    Above, BelowError, FromAbove, INSTANCE_KEPT, INSTANCE_LEFT, Intermediate, MAX_DOWNSTREAM_KEYS,
    MAX_INTERMEDIATES, TokenKeys,
};
pub use node_entries::{
    AdmitError, AllowError, MAX_NODE_ENTRIES, MAX_NODE_SELECTORS, NewNodeEntry, NodeEntry, Proven, Way,
};
pub use nodes::{AnnounceError, Announcement, MAX_ADDRESSES, Node, NodeNumber};
pub use position::{Mark, Position};
pub use registration_changes::{Registered, RegistrationUpdate, TermsUpdate, UpdateError};
pub use registration_id::{RegistrationId, RegistrationIdError};
pub use registrations::{
    DeregisterError, MAX_REGISTRATIONS, MAX_SELECTORS, NewRegistration, RegisterError, Registration,
};
pub use revocation::{
    Effect, Issued, MAX_NAMED, MAX_REVOCATIONS, NewRevocation, NodeFate, Revocation, RevokeError, Shown,
    SignedBy, Submission, Target, Withheld,
};
pub use sealed::{AUTHORITY_KEYS, ResealError};
pub use selector::{Selector, SelectorError};
pub use settings::{Encryption, TrustDomainError};
pub use standing::Standing;
pub use terms::{MAX_DNS_NAMES, Role, RoleError, SvidTerms};
pub use tokens::{
    ConsumeError, CreateTokenError, MAX_POD_CIDRS, MAX_TOKENS, NewToken, PresentedToken, TokenId,
};
