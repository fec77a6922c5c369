//! Where other trust domains, and clouds, get our bundle (Federation §5, OIDC Discovery 1.0), and outsiders what is revoked.

mod config;
mod identity;
mod lists;
mod pages;
mod published;
mod serve;

pub use config::{BundleEndpoint, EndpointIdentity, IssuerError, JwtIssuer};
pub(crate) use serve::Endpoint;
