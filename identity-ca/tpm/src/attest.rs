use crate::{Malformed, Reader};

/// `TPM_GENERATED_VALUE`: no restricted key signs anything from outside that begins like this.
const GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_CERTIFY`.
const CERTIFY: u16 = 0x8017;
/// A digest with its algorithm, the longest that there is; a name is no longer.
const NAME: usize = 66;
/// Most bytes of a statement.
const MAX_BYTES: usize = 512;

/// `TPMS_ATTEST` of `TPM2_Certify` (Part 2, 10.12.12): a key of this name is in the TPM of the key that signs this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certification<'a> {
    /// The name of the key that it is about.
    pub name: &'a [u8],
    /// What whoever asked for it wanted to be in it.
    pub extra: &'a [u8],
}

impl<'a> Certification<'a> {
    /// Reads one, and nothing after it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BYTES {
            return Err(Malformed("it is too long"));
        }
        let mut reader = Reader::new(bytes);
        if reader.u32()? != GENERATED {
            return Err(Malformed("no TPM has made it"));
        }
        reader.expect(CERTIFY, "it certifies no key")?;
        // Who signs, under which parents: the hierarchy is known by the endorsement key.
        reader.sized(NAME)?;
        let extra = reader.sized(NAME)?;
        // Clock, resets, restarts, whether that is safe; version of the firmware.
        reader.take(8 + 4 + 4 + 1)?;
        reader.take(8)?;
        let name = reader.sized(NAME)?;
        // The qualified name of the same key.
        reader.sized(NAME)?;
        reader.finish()?;
        Ok(Self { name, extra })
    }
}
