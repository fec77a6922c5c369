//! Changes that are known to find faults in parsers.

/// Numbers that look random, always the same ones for a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

/// What means something to some parser.
const WORDS: [&[u8]; 30] = [
    b"",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\x30\x80",
    b"\x30\x84\xff\xff\xff\xff",
    b"/",
    b"//",
    b"..",
    b"/./",
    b"%2e",
    b"%00",
    b":",
    b"@",
    b"?",
    b"#",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\u0000",
    b"null",
    b"-1",
    b"18446744073709551616",
    b"1e400",
    b"[[[[[[[[",
    b"{\"a\":{\"a\":{",
    b"\xc3\x28",
    "\u{212a}\u{130}".as_bytes(),
];

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 where that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// Part of a text of this length, mostly a short one.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 16 };
        let end = (start + self.below(most + 1)).min(length);
        start..end
    }
}

/// A few changes to a copy of `input`; `other` is what parts are taken from.
pub(crate) fn mutate(numbers: &mut Numbers, input: &[u8], other: &[u8], longest: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        change(numbers, &mut bytes, other);
    }
    bytes.truncate(longest);
    bytes
}

fn change(numbers: &mut Numbers, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = numbers.below(bytes.len());
    let kind = numbers.below(10);
    match kind {
        0 => {
            let bit = numbers.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        1 => {
            let new = numbers.next().to_le_bytes()[0];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = new;
            }
        }
        2 => {
            let step = numbers.below(33).to_le_bytes()[0];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = byte.wrapping_add(step).wrapping_sub(16);
            }
        }
        3 => {
            let part = numbers.part(bytes.len());
            bytes.drain(part);
        }
        4 => {
            let part = numbers.part(bytes.len());
            let again = bytes[part].to_vec();
            insert(bytes, at, &again);
        }
        5 => {
            let part = numbers.part(bytes.len());
            let once = bytes[part].to_vec();
            let times = 1 + numbers.below(if once.len() > 64 { 8 } else { 400 });
            insert(bytes, at, &once.repeat(times));
        }
        6 => {
            let word = WORDS[numbers.below(WORDS.len())];
            insert(bytes, at, word);
        }
        7 => {
            let word = WORDS[numbers.below(WORDS.len())];
            let end = (at + word.len()).min(bytes.len());
            bytes.splice(at..end, word.iter().copied());
        }
        8 => {
            let theirs = other[numbers.part(other.len())].to_vec();
            let ours = numbers.part(bytes.len());
            bytes.splice(ours, theirs);
        }
        _ => bytes.truncate(at),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    bytes.splice(at..at, what.iter().copied());
}

/// The same input, shorter, as long as it still breaks.
pub(crate) fn minimize(mut input: Vec<u8>, breaks: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut step = input.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + step).min(input.len());
            let shorter = [&input[..at], &input[end..]].concat();
            if breaks(&shorter) {
                input = shorter;
            } else {
                at = end;
            }
        }
        step /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let inputs = |seed| {
            let mut numbers = Numbers::new(seed);
            (0..100)
                .map(|_| mutate(&mut numbers, b"spiffe://td/a", b"other", 1000))
                .collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn what_breaks_is_made_as_short_as_it_can_be() {
        let input = b"all of this and an X and more".to_vec();
        assert_eq!(minimize(input, |bytes| bytes.contains(&b'X')), b"X");
    }
}
