//! The mesh daemon: the only loader of kernel programs.

fn main() {}
