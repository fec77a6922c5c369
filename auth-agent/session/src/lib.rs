//! The node session protocol, as a state machine without sockets.
//!
//! A node session is one TLS 1.3 connection between two agents. On top of it both sides exchange [`Message`]s, each
//! framed by `codec`. A session starts as [`Opening`]; the peer's first message turns it into [`Established`] or
//! ends it. Time is an argument, what to do is a returned value; this crate opens nothing and reads no clock.

mod codec;
mod established;
mod event;
mod granting;
mod holding;
mod id;
mod lease;
mod limits;
mod liveness;
mod message;
mod opening;
mod pace;
mod redial;
mod routes;
mod tiebreak;
mod transport;
mod wire;

pub use codec::{CodecError, Decoder, MAX_FRAME, encode};
pub use established::{Established, SessionError};
pub use event::{Event, HandshakeStep};
pub use id::{Boot, HandshakeId, Instance, NodeNumber, Opener, Route};
pub use lease::{
    ADDRESSES, Digest, Group, LONGEST, LeaseAsk, LeaseDelta, LeaseError, LeaseGrant, LeasePart, PARTS,
};
pub use limits::Limits;
pub use message::{AbortCause, Detail, Hello, Message, Offer, Open};
pub use opening::{LocalNode, OLDEST_VERSION, OpenError, Opening, PeerNode, VERSION};
pub use pace::{backoff, scale, spread};
pub use redial::{Redial, courtesy};
pub use routes::RouteError;
pub use tiebreak::{Contender, Dialer, Keep, keep};
pub use wire::WireError;
