//! Public keys, as devices and as certificates have them.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use signet_keys::KeyKind;

/// OIDs of curves, DER: what `CKA_EC_PARAMS` is.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// The OID of keys on curves (RFC 5480 §2.1.1).
const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The curve of a kind of key, for those that have one.
pub(crate) fn curve(kind: KeyKind) -> Option<&'static [u8]> {
    match kind {
        KeyKind::P256 => Some(P256),
        KeyKind::P384 => Some(P384),
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 | KeyKind::Ed25519 => None,
    }
}

/// A key on a curve from `CKA_EC_POINT`: the point in an OCTET STRING, which some devices leave out.
pub(crate) fn of_point(kind: KeyKind, point: &[u8]) -> Option<Vec<u8>> {
    let curve = curve(kind)?;
    let point = match point {
        [0x04, length, inner @ ..] if usize::from(*length) == inner.len() => inner,
        bare => bare,
    };
    let mut bits = vec![0];
    bits.extend(point);
    let algorithm = tlv(0x30, &[EC, curve].concat())?;
    let key = tlv(0x30, &[algorithm, tlv(0x03, &bits)?].concat())?;
    (KeyKind::of_public_key(&key) == Some(kind)).then_some(key)
}

/// An RSA key from `CKA_MODULUS` and `CKA_PUBLIC_EXPONENT`.
pub(crate) fn of_rsa(kind: KeyKind, modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let digits = |number: &[u8]| {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        number.get(zeros..).map(<[u8]>::to_vec)
    };
    let key = RsaPublicKeyComponents {
        n: digits(modulus)?,
        e: digits(exponent)?,
    };
    let key: PublicKeyX509Der<'_> = key.as_der().ok()?;
    let key = key.as_ref().to_vec();
    (KeyKind::of_public_key(&key) == Some(kind)).then_some(key)
}

/// One element of DER, shorter than 256 bytes.
fn tlv(tag: u8, value: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(value.len()).ok()?;
    let mut der = vec![tag];
    if length >= 0x80 {
        der.push(0x81);
    }
    der.push(length);
    der.extend(value);
    Some(der)
}

#[cfg(test)]
mod tests {
    use signet_keys::{KeyManager as _, MemoryKeys};

    use super::*;

    #[test]
    fn points_become_the_same_keys_with_and_without_their_wrapping() {
        for (kind, point) in [(KeyKind::P256, 65), (KeyKind::P384, 97)] {
            let (record, _) = MemoryKeys::default().generate(kind).unwrap();
            let spki = record.public_key();
            let bare = &spki[spki.len() - point..];
            let length = u8::try_from(point).unwrap();
            let wrapped = [&[0x04, length], bare].concat();
            assert_eq!(of_point(kind, bare).as_deref(), Some(spki));
            assert_eq!(of_point(kind, &wrapped).as_deref(), Some(spki));
        }
        assert_eq!(of_point(KeyKind::Rsa2048, &[4; 65]), None);
    }
}
