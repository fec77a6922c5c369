use std::str::FromStr;

use anyhow::{Context as _, bail};

/// One line that a client printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It has this SVID now.
    Svid(SvidEvent),
    /// It serves on this address.
    Listening(String),
    /// It has authenticated a peer.
    Peer(SvidEvent),
    /// What the server answered.
    Reply(String),
    /// A connection failed, and why.
    Refused(String),
}

/// A SPIFFE ID with the certificate that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvidEvent {
    /// SPIFFE ID.
    pub id: String,
    /// Serial number, hexadecimal without leading zeros.
    pub serial: String,
}

impl FromStr for Event {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (word, rest) = line.split_once(' ').context("one word")?;
        Ok(match word {
            "svid" => Self::Svid(svid(rest)?),
            "listening" => Self::Listening(rest.to_owned()),
            "peer" => Self::Peer(svid(rest)?),
            "reply" => Self::Reply(rest.to_owned()),
            "refused" => Self::Refused(rest.to_owned()),
            other => bail!("{other} is no event"),
        })
    }
}

fn svid(text: &str) -> anyhow::Result<SvidEvent> {
    let (id, serial) = text.split_once(' ').context("no serial number")?;
    Ok(SvidEvent {
        id: id.to_owned(),
        serial: serial.to_owned(),
    })
}
