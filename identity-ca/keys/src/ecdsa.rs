//! ECDSA signatures in their two encodings.

use crate::kind::KeyKind;

/// A signature as JWTs have it (RFC 7518 §3.4): of ECDSA the two integers side by side, each as long as the curve's; all others
/// as they are. None if it is not an encoding that a [`Signer`](crate::Signer) of this kind makes.
pub fn fixed_signature(kind: KeyKind, signature: &[u8]) -> Option<Vec<u8>> {
    let Some(length) = kind.scalar_bytes() else {
        return Some(signature.to_vec());
    };
    let (body, rest) = element(0x30, signature)?;
    let (r, after) = element(0x02, body)?;
    let (s, end) = element(0x02, after)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut fixed = padded(r, length)?;
    fixed.extend(padded(s, length)?);
    Some(fixed)
}

/// The other way: from two integers side by side, as devices (PKCS #11) make them, to DER. None if one of them is zero or
/// missing.
pub fn der_signature(fixed: &[u8]) -> Option<Vec<u8>> {
    if fixed.is_empty() || !fixed.len().is_multiple_of(2) {
        return None;
    }
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let mut body = integer(r)?;
    body.extend(integer(s)?);
    let mut der = vec![
        0x30,
        u8::try_from(body.len()).ok().filter(|&length| length < 0x80)?,
    ];
    der.extend(body);
    Some(der)
}

/// One element of DER with a length below 128: all that occur in signatures on P-256 and P-384.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else {
        return None;
    };
    if *found != tag || *length >= 0x80 {
        return None;
    }
    rest.split_at_checked(usize::from(*length))
}

fn padded(integer: &[u8], length: usize) -> Option<Vec<u8>> {
    let digits = match integer {
        [0, digits @ ..] | digits => digits,
    };
    let mut fixed = vec![0; length.checked_sub(digits.len())?];
    fixed.extend(digits);
    Some(fixed)
}

fn integer(fixed: &[u8]) -> Option<Vec<u8>> {
    let leading = fixed.iter().take_while(|&&byte| byte == 0).count();
    let digits = fixed.get(leading..)?;
    let first = digits.first()?;
    let mut value = Vec::with_capacity(digits.len() + 1);
    if *first >= 0x80 {
        value.push(0);
    }
    value.extend(digits);
    let mut der = vec![0x02, u8::try_from(value.len()).ok()?];
    der.extend(value);
    Some(der)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_encodings_say_the_same(
            r in proptest::array::uniform32(any::<u8>()), s in proptest::array::uniform32(any::<u8>()),
            zeros in 0_usize..32,
        ) {
            let mut fixed = [r, s].concat();
            fixed[..zeros].fill(0);
            prop_assume!(fixed[..32] != [0; 32] && fixed[32..] != [0; 32]);
            let der = der_signature(&fixed).unwrap();
            prop_assert_eq!(fixed_signature(KeyKind::P256, &der), Some(fixed));
        }

        #[test]
        fn nothing_that_comes_in_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            let _ = fixed_signature(KeyKind::P256, &bytes);
            let _ = fixed_signature(KeyKind::P384, &bytes);
            let _ = der_signature(&bytes);
        }
    }

    #[test]
    fn what_is_cut_off_too_long_or_zero_is_no_signature() {
        let der = der_signature(&[1; 64]).unwrap();
        assert!(fixed_signature(KeyKind::P256, &der[..der.len() - 1]).is_none());
        assert!(fixed_signature(KeyKind::P256, &[&der[..], &[0]].concat()).is_none());
        let long = der_signature(&[1; 96]).unwrap();
        assert!(fixed_signature(KeyKind::P256, &long).is_none());
        assert_eq!(fixed_signature(KeyKind::P384, &long).unwrap().len(), 96);
        assert!(der_signature(&[0; 64]).is_none() && der_signature(&[1; 63]).is_none());
        assert_eq!(fixed_signature(KeyKind::Ed25519, &[7; 64]).unwrap(), [7; 64]);
    }
}
