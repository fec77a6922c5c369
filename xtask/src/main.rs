//! Developer tasks: demo, VM runner, benches.

fn main() {}
