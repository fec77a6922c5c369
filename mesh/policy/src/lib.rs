//! Policy rules, and their compilation to kernel map entries.
