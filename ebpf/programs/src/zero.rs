//! Empty values, made without a call.
//!
//! The compiler makes a call of `memset` out of a struct of zeroes, and one of `memmove` out of some copies. For this
//! target both are loops over single bytes, which would cost more than all look-ups of a packet together. So zeroes
//! come from here, and what is copied out of a map is copied field by field.

/// 0, unknown to the compiler. The verifier knows it.
#[inline(always)]
pub fn zero() -> u32 {
    let zero = 0;
    #[expect(unsafe_code, reason = "a volatile read is not optimized away")]
    // SAFETY: reads an initialized, aligned local.
    unsafe {
        core::ptr::read_volatile(&raw const zero)
    }
}
