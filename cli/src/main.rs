//! The command line of Signet.

fn main() {}
