//! The SPIFFE CA daemon.

fn main() {}
