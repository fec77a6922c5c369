//! Flow events: from the kernel's ring to those who ask.

mod log;
mod reader;
mod wire;

pub(crate) use log::FlowLog;
pub(crate) use reader::read_flows;
pub(crate) use wire::{Clock, event, is_drop, pair};
