//! Structures as TPMs send them, and as somebody might who is none.

use signet_fuzz::{Counting, Fuzz};
use signet_tpm::{
    Attributes, Certification, MAX_PUBLIC_BYTES, Malformed, Public, PublicKey, Response, ResponseError,
    Scheme, Signature, Writer, algorithm, announced_size, template,
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// A template with a key in place of the empty fields at its end.
fn p256() -> Vec<u8> {
    let blank = template::attestation();
    Writer::new()
        .raw(&blank[..blank.len() - 4])
        .sized(&[1; 32])
        .sized(&[2; 31])
        .to_vec()
}

fn rsa(bits: u16) -> Vec<u8> {
    let blank = template::device_identity(template::Kind::Rsa2048);
    Writer::new()
        .raw(&blank[..blank.len() - 8])
        .u16(bits)
        .u32(0)
        .sized(&vec![0x81; usize::from(bits / 8)])
        .to_vec()
}

fn statement() -> Vec<u8> {
    Writer::new()
        .u32(0xff54_4347)
        .u16(0x8017)
        .sized(&[1; 34])
        .sized(b"extra")
        .raw(&[0; 25])
        .sized(&[2; 34])
        .sized(&[3; 34])
        .to_vec()
}

fn ecdsa() -> Vec<u8> {
    Writer::new()
        .u16(algorithm::ECDSA)
        .u16(algorithm::SHA256)
        .sized(&[0x80; 32])
        .sized(&[1; 30])
        .to_vec()
}

#[test]
fn keys_are_read_with_all_that_is_said_of_them() {
    let key = Public::parse(&p256()).unwrap();
    assert_eq!(key.scheme(), Scheme::Ecdsa);
    assert!(key.attributes().contains(Attributes::RESTRICTED));
    let PublicKey::P256 { x, y } = key.key() else {
        unreachable!("of a curve")
    };
    // Shorter numbers get their zeros back.
    assert_eq!((x, &y[..2]), (&[1; 32], &[0, 2][..]));
    assert_eq!(key.key().to_spki().len(), 91);
    for bits in [2048, 3072, 4096] {
        let key = Public::parse(&rsa(bits)).unwrap();
        assert_eq!(key.scheme(), Scheme::RsaSsa);
        assert!(matches!(key.key(), PublicKey::Rsa { exponent: 65_537, .. }));
    }
    // Endorsement keys and parents can be read, too; they sign nothing.
    let parent = Public::parse(&template::endorsement_p256()).unwrap();
    assert!(!parent.attributes().contains(Attributes::SIGN));
}

#[test]
fn the_name_is_of_every_byte() {
    let good = p256();
    let name = Public::parse(&good).unwrap().name();
    for place in 0..good.len() {
        let mut other = good.clone();
        other[place] ^= 1;
        assert!(
            Public::parse(&other).map_or(true, |other| other.name() != name),
            "byte {place}"
        );
    }
}

#[test]
fn what_is_too_much_or_too_little_or_of_another_kind_is_refused() {
    let good = p256();
    for end in 0..good.len() {
        Public::parse(&good[..end]).unwrap_err();
    }
    Public::parse(&[&good[..], &[0]].concat()).unwrap_err();
    assert_eq!(
        Public::parse(&vec![0; MAX_PUBLIC_BYTES + 1]),
        Err(Malformed("it is too long"))
    );
    for (place, value) in [
        // Kind, name's digest, scheme, its digest, curve, key derivation.
        (1, 0x08),
        (3, 0x04),
        (13, 0x1a),
        (15, 0x04),
        (17, 0x04),
        (19, 0x22),
    ] {
        let mut other = good.clone();
        other[place] = value;
        Public::parse(&other).unwrap_err();
    }
    for bits in [1024, 2040] {
        Public::parse(&rsa(bits)).unwrap_err();
    }
    let mut even = rsa(2048);
    let place = even.len() - 256 - 2 - 1;
    even[place] = 4;
    Public::parse(&even).unwrap_err();
}

#[test]
fn statements_are_those_of_a_tpm_about_a_key() {
    let good = statement();
    let read = Certification::parse(&good).unwrap();
    assert_eq!((read.name, read.extra), (&[2; 34][..], &b"extra"[..]));
    for end in 0..good.len() {
        Certification::parse(&good[..end]).unwrap_err();
    }
    let mut quote = good.clone();
    quote[5] = 0x18;
    let mut outside = good.clone();
    outside[0] = 0;
    for bad in [quote, outside, [&good[..], &[0]].concat(), vec![0xff; 600]] {
        Certification::parse(&bad).unwrap_err();
    }
}

#[test]
fn signatures_become_those_of_certificates() {
    let der = Signature::parse(&ecdsa()).unwrap().to_x509();
    // A high first bit gets a zero in front, leading zeros go.
    assert_eq!(&der[..5], [0x30, 33 + 2 + 30 + 2, 0x02, 33, 0]);
    let long = Writer::new()
        .u16(algorithm::ECDSA)
        .u16(algorithm::SHA256)
        .sized(&[1; 33])
        .sized(&[1; 32]);
    Signature::parse(long.bytes()).unwrap_err();
    let sha1 = Writer::new().u16(algorithm::RSASSA).u16(0x0004).sized(&[1; 256]);
    Signature::parse(sha1.bytes()).unwrap_err();
}

#[test]
fn answers_say_how_long_they_are() {
    let answer = |size: u32, code: u32| Writer::new().u16(0x8001).u32(size).u32(code).to_vec();
    assert!(Response::parse(&answer(10, 0), false).is_ok());
    assert!(matches!(
        Response::parse(&answer(10, 0x101), false),
        Err(ResponseError::Refused(code)) if code.0 == 0x101
    ));
    for bad in [
        answer(11, 0),
        answer(9, 0),
        answer(5000, 0),
        answer(10, 0)[..9].to_vec(),
    ] {
        assert!(matches!(
            Response::parse(&bad, false),
            Err(ResponseError::Malformed(_))
        ));
    }
    assert!(Response::parse(&answer(10, 0), true).is_err(), "it has no handle");
    announced_size(&[0x80, 0x01, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
}

#[test]
fn fuzz_tpm_structures() {
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "structures")
        .seed(p256())
        .seed(rsa(2048))
        .seed(template::endorsement_p256())
        .seed(statement())
        .seed(ecdsa())
        .inputs(100_000)
        .run(|bytes| {
            let mut read = false;
            if let Ok(public) = Public::parse(bytes) {
                assert_eq!(public.as_bytes(), bytes, "all of it is named");
                assert!(bytes.len() <= MAX_PUBLIC_BYTES);
                read = true;
            }
            if let Ok(statement) = Certification::parse(bytes) {
                assert!(statement.name.len() <= 66 && bytes.starts_with(b"\xffTCG"));
                read = true;
            }
            if let Ok(signature) = Signature::parse(bytes) {
                assert!(signature.to_x509().len() <= 512);
                read = true;
            }
            for made in [false, true] {
                read |= Response::parse(bytes, made).is_ok();
            }
            read
        });
}
