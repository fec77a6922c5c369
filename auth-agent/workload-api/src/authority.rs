//! Mends the `:authority` of requests over a Unix socket.
//!
//! gRPC's own C++ core (so Python's SPIFFE client, Ruby's, PHP's) and grpc-java send the socket's path as authority, such as
//! `%2Frun%2Fsignet%2Fworkload.sock`. RFC 9113 §8.3.1 wants a host there, and our HTTP/2 library resets the stream before
//! any of our code sees it. Nobody here reads the authority, so what no host may have in it is overwritten on its way in,
//! byte for byte: no length changes, so that frames stay whole and the header table (RFC 7541 §4.1, sizes in bytes) stays
//! in step with the client's. Huffman-coded values are left alone for that reason; the clients named send none.
//!
//! The bytes are a client's own: one that sends nonsense gets its own nonsense mangled, on its own connection.

mod block;

use block::Block;

/// What a client sends first (RFC 9113 §3.4). It is not looked at here.
const PREFACE: u32 = 24;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Bytes of the priority fields in a HEADERS frame.
const PRIORITY_LENGTH: u32 = 5;

/// Follows the frames of one connection, as they come in.
#[derive(Debug)]
pub(crate) struct AuthorityMender {
    state: State,
    block: Block,
}

/// What the next byte is.
#[derive(Debug)]
enum State {
    /// Not for us, so many bytes; then a frame.
    Skip(u32),
    /// Of the nine bytes before a payload: those seen so far.
    Head { seen: usize, head: [u8; 9] },
    /// Length of the padding. `rest`: payload after it.
    PadLength { rest: u32, skip: u32, ends: bool },
    /// Header block: `skip` bytes before it, `fragment` of it, `padding` behind.
    Fragment {
        skip: u32,
        fragment: u32,
        padding: u32,
        ends: bool,
    },
}

impl Default for AuthorityMender {
    fn default() -> Self {
        Self {
            state: State::Skip(PREFACE),
            block: Block::default(),
        }
    }
}

impl AuthorityMender {
    /// Takes the next bytes of the connection, in pieces of any size.
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.step(byte);
        }
    }

    fn step(&mut self, byte: &mut u8) {
        match &mut self.state {
            State::Skip(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.state = State::head();
                }
            }
            State::Head { seen, head } => {
                if let Some(place) = head.get_mut(*seen) {
                    *place = *byte;
                }
                *seen += 1;
                if *seen == head.len() {
                    let head = *head;
                    self.frame(head);
                }
            }
            &mut State::PadLength { rest, skip, ends } => {
                let padding = u32::from(*byte);
                // Padding that is longer than the payload ends the connection later; what we do with it is no matter.
                let fragment = rest.saturating_sub(skip).saturating_sub(padding);
                self.fragment(skip, fragment, rest.saturating_sub(skip).min(padding), ends);
            }
            State::Fragment {
                skip,
                fragment,
                padding,
                ends,
            } => {
                if *skip > 0 {
                    *skip -= 1;
                } else if *fragment > 0 {
                    *fragment -= 1;
                    self.block.step(byte);
                } else {
                    *padding = padding.saturating_sub(1);
                }
                let (skip, fragment, padding, ends) = (*skip, *fragment, *padding, *ends);
                self.fragment(skip, fragment, padding, ends);
            }
        }
    }

    /// A frame's head is complete.
    fn frame(&mut self, head: [u8; 9]) {
        let [a, b, c, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let ends = flags & END_HEADERS != 0;
        match kind {
            HEADERS => {
                self.block = Block::default();
                let skip = if flags & PRIORITY == 0 { 0 } else { PRIORITY_LENGTH };
                if flags & PADDED != 0 && length > 0 {
                    self.state = State::PadLength {
                        rest: length - 1,
                        skip,
                        ends,
                    };
                } else {
                    self.fragment(skip, length.saturating_sub(skip), 0, ends);
                }
            }
            CONTINUATION => self.fragment(0, length, 0, ends),
            _ if length > 0 => self.state = State::Skip(length),
            _ => self.state = State::head(),
        }
    }

    /// So much of a header frame is left.
    fn fragment(&mut self, skip: u32, fragment: u32, padding: u32, ends: bool) {
        if ends && fragment == 0 {
            self.block = Block::default();
        }
        self.state = if skip + fragment + padding > 0 {
            State::Fragment {
                skip,
                fragment,
                padding,
                ends,
            }
        } else {
            State::head()
        };
    }
}

impl State {
    fn head() -> Self {
        Self::Head {
            seen: 0,
            head: [0; 9],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frames.concat()].concat()
    }

    /// As most send it: a literal that goes into the table, named by index 1.
    fn authority(value: &str) -> Vec<u8> {
        [&[0x41, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
    }

    /// As gRPC's C++ core sends it: with its name spelt out.
    fn spelt(name: &str, value: &str) -> Vec<u8> {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        [
            &[0x40, length(name)],
            name.as_bytes(),
            &[length(value)],
            value.as_bytes(),
        ]
        .concat()
    }

    fn block(value: &str) -> Vec<u8> {
        // `:method: POST`, `:path` literal, the authority, and a literal with a name of its own.
        let before = [&[0x83, 0x44, 3][..], b"/%2"].concat();
        let after = [&[0x40, 2][..], b"%2", &[2], b"/F"].concat();
        [before, authority(value), after].concat()
    }

    fn passed(mut bytes: Vec<u8>, piece: usize) -> Vec<u8> {
        let mut mender = AuthorityMender::default();
        bytes.chunks_mut(piece).for_each(|piece| mender.pass(piece));
        bytes
    }

    const PATH: &str = "%2Frun%2Fs.sock";
    const MENDED: &str = "-2Frun-2Fs.sock";

    #[test]
    fn a_path_becomes_a_host_and_nothing_else_changes() {
        let settings = frame(0x4, 0, b"\x00\x03\x00\x00\x00A%2F");
        let data = frame(0x0, 0x1, &block(PATH));
        let stream = |value| {
            let first = frame(HEADERS, END_HEADERS, &block(value));
            let second = frame(HEADERS, END_HEADERS, &block(value));
            connection(&[settings.clone(), first, data.clone(), frame(0x6, 0, b""), second])
        };
        for piece in [1, 2, 7, 1000] {
            assert_eq!(passed(stream(PATH), piece), stream(MENDED));
        }
        assert_eq!(passed(stream("/run/s.sock"), 9), stream("-run-s.sock"));
        for host in ["localhost", "127.0.0.1:80", "[::1]:80", "my_host.local"] {
            assert_eq!(passed(stream(host), 9), stream(host));
        }
    }

    #[test]
    fn a_name_that_is_spelt_out_is_recognised_and_one_like_it_is_not() {
        let others = [":authorit", ":authority2", "authority", ""].map(|name| spelt(name, PATH));
        let stream = |value| {
            let block = [others.concat(), spelt(":authority", value), spelt("a", PATH)].concat();
            connection(&[frame(HEADERS, END_HEADERS, &block)])
        };
        for piece in [1, 6, 1000] {
            assert_eq!(passed(stream(PATH), piece), stream(MENDED));
        }
    }

    #[test]
    fn padding_and_priority_are_not_the_block() {
        let stream = |value| {
            let payload = [&[4_u8][..], b"\x41\x03%2F", &block(value), b"\x41\x02%%"].concat();
            let both = frame(HEADERS, END_HEADERS | PADDED | PRIORITY, &payload);
            let priority = [b"\x41\x03%2F", &block(value)[..]].concat();
            connection(&[both, frame(HEADERS, END_HEADERS | PRIORITY, &priority)])
        };
        for piece in [1, 5, 1000] {
            assert_eq!(passed(stream(PATH), piece), stream(MENDED));
        }
    }

    #[test]
    fn a_block_goes_on_over_continuations_cut_anywhere() {
        let whole = block(PATH);
        for cut in 0..=whole.len() {
            let stream = |value| {
                let block = block(value);
                let (first, second) = block.split_at(cut);
                connection(&[
                    frame(HEADERS, 0, first),
                    frame(CONTINUATION, 0, &[]),
                    frame(CONTINUATION, END_HEADERS, second),
                    frame(HEADERS, END_HEADERS, &authority(value)),
                ])
            };
            assert_eq!(passed(stream(PATH), 3), stream(MENDED));
        }
    }

    #[test]
    fn a_long_value_and_one_that_stays_out_of_the_table_are_mended() {
        let long = "/x".repeat(200);
        // 400 = 127 + 273, in 7-bit groups.
        let stream = |value: &str| {
            let literal = [&[0x11, 0x7f, 0x91, 0x02], value.as_bytes()].concat();
            connection(&[frame(HEADERS, END_HEADERS, &[literal, authority("%")].concat())])
        };
        let mended = passed(stream(&long), 11);
        assert_eq!(
            &mended[..mended.len() - 3],
            &stream(&"-x".repeat(200))[..mended.len() - 3]
        );
        assert_eq!(mended.last(), Some(&b'-'));
    }

    #[test]
    fn a_huffman_coded_value_is_left_alone() {
        let coded = [0x41, 0x82, b'%', b'/'];
        let stream = connection(&[frame(HEADERS, END_HEADERS, &coded)]);
        assert_eq!(passed(stream.clone(), 4), stream);
    }

    proptest! {
        #[test]
        fn any_bytes_pass_in_any_pieces_with_the_same_result(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            piece in 1_usize..40,
        ) {
            let bytes = [connection(&[frame(HEADERS, END_HEADERS, &bytes)]), bytes].concat();
            let mended = passed(bytes.clone(), piece);
            prop_assert_eq!(mended.len(), bytes.len());
            prop_assert_eq!(mended, passed(bytes, 1));
        }
    }
}
