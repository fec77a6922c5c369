use std::fmt;

use crate::{Malformed, Reader};

/// Longest answer of a TPM, bytes (`TPM_MAX_RESPONSE_SIZE` of the common ones).
pub const MAX_RESPONSE_BYTES: usize = 4096;

/// `TPM_ST_NO_SESSIONS`, `TPM_ST_SESSIONS`.
pub(crate) const PLAIN: u16 = 0x8001;
pub(crate) const SESSIONS: u16 = 0x8002;

/// Why a TPM did not do what it was told (Part 2, 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub u32);

impl ResponseCode {
    /// A key or a blob that is not of this TPM, or was changed.
    pub const INTEGRITY: u32 = 0x9f;
    /// A wrong password.
    pub const AUTH_FAIL: u32 = 0x8e;
    /// A wrong password, where the dictionary defence does not apply.
    pub const BAD_AUTH: u32 = 0xa2;
    /// Nothing has this handle.
    pub const HANDLE: u32 = 0x8b;

    /// Without the place that it is about.
    #[must_use]
    pub fn base(self) -> u32 {
        if self.0 & 0x80 == 0 { self.0 } else { self.0 & 0xbf }
    }

    /// The same command may be sent again: `TPM_RC_YIELDED`, `TPM_RC_TESTING`, `TPM_RC_RETRY`, `TPM_RC_NV_RATE`.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self.0, 0x908 | 0x90a | 0x920 | 0x922)
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.base() {
            Self::INTEGRITY => "the blob is not of this TPM, or damaged",
            Self::AUTH_FAIL | Self::BAD_AUTH => "the password of the hierarchy is not this one",
            Self::HANDLE => "there is nothing of this handle",
            0x100 => "it was not started (TPM2_Startup)",
            0x120 => "it is disabled, or the hierarchy is",
            0x902 => "it has no room for another key; end what else uses it, or use /dev/tpmrm0",
            0x903 => "it has no room for another session; end what else uses it, or use /dev/tpmrm0",
            0x921 => "it is locked after too many wrong passwords",
            0x143 => "it does not know the command",
            _ => "see the TPM's response codes",
        };
        write!(f, "{said} ({:#05x})", self.0)
    }
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The TPM refused.
    #[error("the TPM refused: {0}")]
    Refused(ResponseCode),
    /// Not the answer of a TPM.
    #[error("the TPM's answer is malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// How long an answer that begins like this is, all in all.
///
/// # Errors
/// No header, or longer than [`MAX_RESPONSE_BYTES`].
pub fn announced_size(beginning: &[u8]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(beginning);
    reader.u16()?;
    let size = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if (10..=MAX_RESPONSE_BYTES).contains(&size) {
        Ok(size)
    } else {
        Err(Malformed("its size makes no sense"))
    }
}

/// What a TPM answered to a command that it has carried out.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// What follows its header. Sessions' part is not in it.
    pub parameters: Reader<'a>,
    /// Of what the command has made.
    pub handle: Option<u32>,
}

impl<'a> Response<'a> {
    /// Reads an answer; `made` if the command makes something that has a handle.
    pub fn parse(bytes: &'a [u8], made: bool) -> Result<Self, ResponseError> {
        let size = announced_size(bytes)?;
        let mut reader = Reader::new(bytes);
        let tag = reader.u16()?;
        reader.u32()?;
        let code = reader.u32()?;
        if size != bytes.len() {
            return Err(Malformed("it has not the size that it says").into());
        }
        if code != 0 {
            return Err(ResponseError::Refused(ResponseCode(code)));
        }
        let handle = if made { Some(reader.u32()?) } else { None };
        let parameters = match tag {
            PLAIN => reader,
            SESSIONS => {
                let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
                Reader::new(reader.take(length)?)
            }
            _ => return Err(Malformed("its tag is unknown").into()),
        };
        Ok(Self { parameters, handle })
    }
}
