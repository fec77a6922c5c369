//! Framing: a big-endian `u32` length, at most [`MAX_FRAME`], then one protobuf `Envelope`.

use prost::Message as _;
use signet_proto::session::v1::Envelope;

use crate::message::Message;
use crate::wire::WireError;

/// Longest envelope, bytes.
pub const MAX_FRAME: usize = 65_536;

/// Bytes of the length before each envelope.
const PREFIX: usize = 4;

/// What is wrong with bytes from the peer, or with a message for it. The session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than [`MAX_FRAME`].
    #[error("frame of {0} bytes is too long, at most {MAX_FRAME} are accepted")]
    TooLong(usize),
    /// Not protobuf of the envelope's shape.
    #[error("frame is not a session envelope")]
    Malformed(#[source] prost::DecodeError),
    /// An envelope that says something impossible.
    #[error("frame is refused")]
    Refused(#[from] WireError),
}

/// Cuts a byte stream into messages. Holds at most one frame and what came with it in one [`Decoder::push`].
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Takes bytes as they came off the connection. Call [`Decoder::next_message`] until it has none before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or none until more bytes come. After an error the stream is of no use any more.
    pub fn next_message(&mut self) -> Result<Option<Message>, CodecError> {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > MAX_FRAME {
            return Err(CodecError::TooLong(length));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let message = Envelope::decode(frame)
            .map_err(CodecError::Malformed)?
            .try_into()?;
        self.start += PREFIX + length;
        Ok(Some(message))
    }

    /// Bytes of an unfinished frame that are held.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// A message as a frame.
pub fn encode(message: &Message) -> Result<Vec<u8>, CodecError> {
    let envelope = Envelope::from(message);
    let length = envelope.encoded_len();
    let prefix = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME)
        .ok_or(CodecError::TooLong(length))?;
    let mut frame = Vec::with_capacity(PREFIX + length);
    frame.extend_from_slice(&prefix.to_be_bytes());
    envelope.encode_raw(&mut frame);
    Ok(frame)
}
