//! A datapath of its own for each test: own pin directory, own maps, gone on drop.

pub mod node;
pub mod packet;
