//! A WireGuard device, in the kernel or in user space, behind one interface.
