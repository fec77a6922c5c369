//! Endpoints of the cluster and the kernel map entries that follow from them.
//!
//! [`Desired::new`] says what the kernel maps of a node should hold, from the workloads and policies that the
//! sources name and the [`View`] of nodes and identities that the CA has pushed. [`plan`] compares that with what
//! the kernel holds and lists the writes in an order in which, after each of them, nothing passes that neither the
//! old nor the new state lets pass, and nothing is dropped that both let pass.
//!
//! Pure: no kernel, no files, no clock.

mod address;
mod cidr;
mod claims;
mod desired;
mod interface;
mod kernel;
mod numbering;
mod pairs;
mod plan;
mod problem;
mod quarantine;
mod view;
mod workload;

pub use address::{AddressError, WorkloadAddress};
pub use cidr::{Cidr, CidrError};
pub use desired::{Desired, DesiredEndpoint, Inputs, Place};
pub use interface::{Ifindex, InterfaceName, InterfaceNameError};
pub use kernel::{KernelState, PolicySlot, Step};
pub use pairs::{PairGroup, Pairs, Worth};
pub use plan::{Capacity, PlanError, finish, plan};
pub use problem::{EndpointReport, EndpointState, Problem};
pub use view::{Node, View};
pub use workload::{MAX_ADDRESSES, Workload, WorkloadError, WorkloadName};
