//! Two nodes on a wire, each with a signet-keyd.

mod node;
mod traffic;
mod wire;

pub(crate) use node::Node;
pub(crate) use traffic::{Echo, Sniffer, within};
pub(crate) use wire::{Family, Wire};
