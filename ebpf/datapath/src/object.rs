//! The kernel programs, as the build script left them.

/// ELF object with all programs and maps.
pub(crate) static PROGRAMS: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/signet-programs.o"));
