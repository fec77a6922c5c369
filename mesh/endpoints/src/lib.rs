//! Endpoints of the cluster and the kernel map entries that follow from them.
