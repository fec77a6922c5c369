//! One header block (RFC 7541 §6), followed without decoding it: where each string lies is all that matters.

/// Static table index of `:authority` (RFC 7541, appendix A).
const AUTHORITY: u8 = 1;
/// Its name, which gRPC's C++ core spells out all the same.
const AUTHORITY_NAME: &[u8] = b":authority";
/// Integers longer than this are no lengths that anybody sends (RFC 7541 §5.1); their block is given up.
const MAX_SHIFT: u32 = 21;

/// What the next byte of the block is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Block {
    /// First byte of a field.
    #[default]
    Field,
    /// More of an index or of a table size, whose value does not matter.
    Number { then: Strings },
    /// First byte of a string: its length.
    Length { string: Text },
    /// More of a length.
    LengthMore {
        string: Text,
        length: u32,
        shift: u32,
        coded: bool,
    },
    /// A string's bytes.
    Bytes { string: Text, left: u32, coded: bool },
    /// Not a block that we understand.
    GivenUp,
}

/// What strings follow.
#[derive(Clone, Copy, Debug)]
pub(super) enum Strings {
    None,
    Value,
}

/// Which string it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// `matching`: how much of `:authority` it has been so far; `None`: it is another name.
    Name {
        matching: Option<usize>,
    },
    Value,
    Authority,
}

impl Block {
    pub(super) fn step(&mut self, byte: &mut u8) {
        *self = match *self {
            Self::Field => field(*byte),
            Self::Number { then } => number(*byte, then),
            Self::Length { string } => {
                let coded = *byte & 0x80 != 0;
                match *byte & 0x7f {
                    0x7f => Self::LengthMore {
                        string,
                        length: 0x7f,
                        shift: 0,
                        coded,
                    },
                    length => bytes(string, u32::from(length), coded),
                }
            }
            Self::LengthMore { shift, .. } if shift > MAX_SHIFT => Self::GivenUp,
            Self::LengthMore {
                string,
                length,
                shift,
                coded,
            } => {
                let length = length + (u32::from(*byte & 0x7f) << shift);
                if *byte & 0x80 == 0 {
                    bytes(string, length, coded)
                } else {
                    Self::LengthMore {
                        string,
                        length,
                        shift: shift + 7,
                        coded,
                    }
                }
            }
            Self::Bytes { string, left, coded } => {
                if string == Text::Authority && !coded && !is_of_a_host(*byte) {
                    *byte = b'-';
                }
                bytes(string.after(*byte, coded), left.saturating_sub(1), coded)
            }
            Self::GivenUp => Self::GivenUp,
        };
    }
}

impl Text {
    /// The string after one more of its bytes.
    fn after(self, byte: u8, coded: bool) -> Self {
        match self {
            Self::Name {
                matching: Some(place),
            } => {
                let same = !coded && AUTHORITY_NAME.get(place) == Some(&byte);
                Self::Name {
                    matching: same.then_some(place + 1),
                }
            }
            Self::Name { matching: None } | Self::Value | Self::Authority => self,
        }
    }
}

/// RFC 7541 §6.1 to §6.3, by the leading bits.
fn field(byte: u8) -> Block {
    let (mask, literal) = match byte {
        0x80.. => (0x7f, false),
        0x40.. => (0x3f, true),
        0x20.. => (0x1f, false),
        _ => (0x0f, true),
    };
    let index = byte & mask;
    let then = if literal { Strings::Value } else { Strings::None };
    match (literal, index) {
        (_, index) if index == mask => Block::Number { then },
        (true, 0) => Block::Length {
            string: Text::Name { matching: Some(0) },
        },
        (true, AUTHORITY) => Block::Length {
            string: Text::Authority,
        },
        _ => follow(then),
    }
}

fn number(byte: u8, then: Strings) -> Block {
    if byte & 0x80 == 0 {
        follow(then)
    } else {
        Block::Number { then }
    }
}

fn follow(then: Strings) -> Block {
    match then {
        Strings::None => Block::Field,
        Strings::Value => Block::Length { string: Text::Value },
    }
}

fn bytes(string: Text, left: u32, coded: bool) -> Block {
    match (left, string) {
        (0, Text::Name { matching }) => Block::Length {
            string: if matching == Some(AUTHORITY_NAME.len()) {
                Text::Authority
            } else {
                Text::Value
            },
        },
        (0, Text::Value | Text::Authority) => Block::Field,
        (left, string) => Block::Bytes { string, left, coded },
    }
}

fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
}
