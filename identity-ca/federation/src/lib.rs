//! Following other trust domains' bundles (SPIFFE Federation): with whom, what a fetched document means, where a redirect
//! leads, and when to ask again.
//!
//! Pure: no sockets, no clock, no files. Moments are arguments; whoever owns sockets asks [`Schedule::due`] whom to fetch
//! from, gives what came to [`Document::read`], and [`judge`] says whether it counts.

mod document;
mod endpoint_url;
mod pace;
mod redirect;
mod relationship;
mod schedule;

pub use document::{Document, DocumentError, SequenceError, Verdict, judge};
pub use endpoint_url::{EndpointUrl, MAX_URL_BYTES, UrlError};
pub use pace::{DEFAULT_INTERVAL, MAX_INTERVAL, MIN_INTERVAL, interval};
pub use redirect::{MAX_REDIRECTS, RedirectError, redirect};
pub use relationship::{MAX_WEB_CA_BYTES, Profile, Relationship, RelationshipError};
pub use schedule::Schedule;
