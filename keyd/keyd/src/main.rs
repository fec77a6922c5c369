//! The node's key daemon: the only holder of transport keys.

fn main() {}
