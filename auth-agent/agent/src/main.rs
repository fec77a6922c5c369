//! The node agent: identity for workloads, proof for the kernel.

fn main() {}
