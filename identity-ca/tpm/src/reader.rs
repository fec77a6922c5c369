/// Bytes that are not the structure that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Reads big-endian integers and sized fields off the front of some bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed("it ends before its time"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Malformed("it ends before its time"))
    }

    /// `UINT8`.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// `UINT16`.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// `UINT32`.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// `TPM2B_…`: what has its size in front, at most `limit` bytes.
    pub fn sized(&mut self, limit: usize) -> Result<&'a [u8], Malformed> {
        let length = usize::from(self.u16()?);
        if length > limit {
            return Err(Malformed("a part of it is too long"));
        }
        self.take(length)
    }

    /// The next integer is this one.
    pub fn expect(&mut self, wanted: u16, otherwise: &'static str) -> Result<(), Malformed> {
        if self.u16()? == wanted {
            Ok(())
        } else {
            Err(Malformed(otherwise))
        }
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// There is nothing more.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed("there is more than belongs to it"))
        }
    }
}

/// A number of at most 32 bytes, as one of exactly 32: some TPMs leave leading zeros out.
pub(crate) fn padded(number: &[u8]) -> Result<[u8; 32], Malformed> {
    let start = 32_usize
        .checked_sub(number.len())
        .ok_or(Malformed("a number is too long for the curve"))?;
    let mut bytes = [0; 32];
    bytes[start..].copy_from_slice(number);
    Ok(bytes)
}
