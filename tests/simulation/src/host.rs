//! A node: its kernel, its clocks, and the agent on it while there is one.

use signet_session::NodeNumber;

use crate::agent::{Agent, Estate};
use crate::context::{Clocks, Traffic};
use crate::kernel::Kernel;

/// A node.
#[derive(Debug)]
pub struct Host {
    /// Its number.
    pub number: NodeNumber,
    /// Its kernel.
    pub kernel: Kernel,
    /// The agent that runs.
    pub agent: Option<Agent>,
    /// What the last one has left, while none runs.
    pub estate: Option<Estate>,
    /// Its clocks.
    pub clocks: Clocks,
    /// What it has sent.
    pub traffic: Traffic,
    /// When the agent is woken next, simulated ns.
    pub wake_at: u64,
    /// Reasons for which it has no power.
    pub dark: u32,
    /// Reasons for which no agent runs.
    pub dead: u32,
    /// Reasons for which signet-meshd is away.
    pub meshless: u32,
    /// Reasons for which nothing comes from the CA.
    pub orphaned: u32,
    /// Reasons for which it hears of no address.
    pub deaf: u32,
    /// What runs on it is an attacker's.
    pub lies: bool,
    /// It was banned.
    pub banned: bool,
}

impl Host {
    /// A node whose agent will begin with this.
    pub fn new(number: NodeNumber, estate: Estate, clocks: Clocks, secret: u64) -> Self {
        Self {
            number,
            kernel: Kernel::booted(secret),
            agent: None,
            estate: Some(estate),
            clocks,
            traffic: Traffic::default(),
            wake_at: u64::MAX,
            dark: 0,
            dead: 0,
            meshless: 0,
            orphaned: 0,
            deaf: 0,
            lies: false,
            banned: false,
        }
    }

    /// Whether an agent may run.
    pub fn may_run(&self) -> bool {
        self.dark == 0 && self.dead == 0
    }
}
