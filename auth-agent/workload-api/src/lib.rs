//! The SPIFFE Workload API server: X.509-SVIDs, JWT-SVIDs, WIT-SVIDs where they are on, and bundles for the processes of this node, over a Unix socket.
//!
//! The agent implements [`SvidSource`]: two `watch` channels, what there is to give ([`Offers`]) and which network
//! namespace is which endpoint ([`signet_attest::EndpointTable`]), and a call for JWT-SVIDs. It publishes a new value whenever something changes;
//! everything else happens here. For each stream a process is attested, the offers that it satisfies are sent at once and
//! in full, and again whenever they change. When nothing is left for it, the stream ends with `PermissionDenied`; when
//! the process ends, so does the stream.
//!
//! ```no_run
//! # use std::{path::Path, sync::Arc};
//! # use futures::future::BoxFuture;
//! # use signet_workload_api::{JwtSvid, Limits, NoJwtSvid, Offers, SvidSource, serve};
//! # use signet_attest::EndpointTable;
//! # use signet_spiffe::{Audience, SpiffeId};
//! # use tokio::sync::watch;
//! struct Agent {
//!     offers: watch::Sender<Arc<Offers>>,
//!     endpoints: watch::Sender<Option<Arc<EndpointTable>>>,
//! }
//!
//! impl SvidSource for Agent {
//!     fn offers(&self) -> watch::Receiver<Arc<Offers>> {
//!         self.offers.subscribe()
//!     }
//!     fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>> {
//!         self.endpoints.subscribe()
//!     }
//!     fn jwt_svid<'a>(
//!         &'a self,
//!         _: &'a SpiffeId,
//!         _: &'a Audience,
//!     ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>> {
//!         Box::pin(async { Err(NoJwtSvid("the CA is away".to_owned())) })
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let agent = Arc::new(Agent {
//!     offers: watch::Sender::new(Arc::new(Offers::starting())),
//!     endpoints: watch::Sender::default(),
//! });
//! let stop = std::future::pending();
//! serve(Path::new("/run/signet/workload.sock"), agent, Limits::default(), stop).await?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod caller;
mod claims;
mod connection;
mod entitlement;
mod entrance;
mod health;
mod jwt;
mod jwt_calls;
mod message;
mod offer;
mod pace;
mod places;
mod representation;
mod server;
mod service;
mod source;
mod subscription;
mod svid;
mod wit;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod conformance_jwt;
#[cfg(test)]
mod conformance_wit;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod stalled;
#[cfg(test)]
mod testing;

pub use entrance::{Entrance, Holdings, Visit};
pub use jwt::{JwtSvid, NoJwtSvid};
pub use offer::{Beside, Offer, OfferError, Offers, OffersError, RevocationList};
pub use pace::{Pace, Paced};
pub use places::Limits;
pub use representation::{Messages, Representation};
pub use server::{ServeError, serve, serve_beside};
pub use source::SvidSource;
pub use svid::{X509Svid, X509SvidError};
pub use wit::{WitOffers, WitSvid, WitSvidError};
