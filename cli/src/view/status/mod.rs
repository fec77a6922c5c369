//! The one screen of `signet status`: what it holds, and how it is drawn.

mod draw;
mod model;

pub(crate) use model::{CaPart, NodePart, Part, StatusView};
