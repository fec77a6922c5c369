//! A datapath of its own for each test: own pin directory, own maps, gone on drop.

pub(crate) mod node;
pub(crate) mod packet;
pub(crate) mod scene;
