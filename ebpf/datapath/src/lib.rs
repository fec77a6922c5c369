//! Loads, pins and attaches Signet's kernel programs.
