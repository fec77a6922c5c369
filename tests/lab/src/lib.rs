//! Clusters made of network namespaces: nodes on an underlay bridge, workloads behind veths, the real daemons in each node.
//!
//! ```text
//!            sg-<lab>-net: bridge br0
//!      ┌───────────┼──────────────┬─────────────┐
//!  sg-<lab>-ca  sg-<lab>-n1    sg-<lab>-n2   sg-<lab>-n3      eth0: 172.30.0.x, fd00:30::x
//!   signet-ca    agent meshd keyd …
//!                 │ sgv-<workload>   (node side of the veth)
//!              sg-<lab>-<workload>   eth0: 10.244.<node>.x/32, fd00:244:<node>::x/128
//! ```
//!
//! A workload reaches everything through the link-scope gateways 169.254.1.1 and `fe80::1`. Nobody owns these addresses:
//! both ends of the veth have permanent neighbour entries for each other, so neither ARP nor neighbour discovery
//! happens on it, and the node needs no address there.
//!
//! The way in for programs is [`Lab::up`]; it is what `signet lab`, the demo and the end-to-end tests use. What a lab
//! is made of is computed first ([`Plan`], pure) and then carried out ([`up`], [`down`]).

pub mod capture;
mod claim;
mod clients;
mod control;
mod documents;
mod down;
mod error;
mod exec;
mod lab;
mod lock;
mod name;
pub mod net;
mod paths;
mod plan;
mod processes;
pub mod spec;
mod state;
mod status;
pub mod traffic;
mod up;

pub use claim::{Claim, sweep};
pub use clients::NodeClient;
pub use control::{Role, RoleError, Supervised, SupervisorState, supervise};
pub use down::{down, labs};
pub use error::LabError;
pub use exec::{environment, nsenter};
pub use lab::Lab;
pub use name::{LabName, NameError};
pub use paths::LabPaths;
pub use plan::{NodePlan, Plan, WorkloadPlan};
pub use processes::metrics_ports;
pub use spec::{LabFile, SpecError};
pub use state::LabState;
pub use status::{LabStatus, ProcessStatus, status};
pub use up::{Progress, UpOptions, up};
