//! Where workloads and policies come from: a directory of YAML.
