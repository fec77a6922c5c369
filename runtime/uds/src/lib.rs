//! gRPC over Unix sockets whose peer is checked by the kernel's credentials.
