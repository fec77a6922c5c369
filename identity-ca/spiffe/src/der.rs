//! Certificates one behind the other, as the Workload API has them.

use rustls_pki_types::CertificateDer;

/// Certificates one behind the other (Workload API §5.2.1): each says how long it is (X.690 §8.1). Nothing where they
/// are not.
pub fn split(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut certificates = Vec::new();
    while let Some((0x30, rest)) = bytes.split_first().map(|(tag, rest)| (*tag, rest)) {
        let (first, rest) = rest.split_first()?;
        let (header, length) = if *first < 0x80 {
            (2, usize::from(*first))
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=3).contains(&count) {
                return None;
            }
            let digits = rest.get(..count)?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (2 + count, length)
        };
        let (certificate, behind) = bytes.split_at_checked(header + length)?;
        certificates.push(CertificateDer::from(certificate.to_vec()));
        bytes = behind;
    }
    (bytes.is_empty() && !certificates.is_empty()).then_some(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_apart_by_their_lengths_and_nothing_is_left_over() {
        let short = [0x30, 2, 1, 2];
        let long = [&[0x30, 0x81, 0x80][..], &[7; 128]].concat();
        let longer = [&[0x30, 0x82, 1, 0][..], &[7; 256]].concat();
        let all = [&short[..], &long, &longer].concat();
        let split_up = split(&all).unwrap();
        assert_eq!(
            split_up.iter().map(|one| one.len()).collect::<Vec<_>>(),
            [4, 131, 260]
        );
        for bad in [
            &b""[..],
            &all[..all.len() - 1],
            &[&all[..], &[0]].concat(),
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x84, 0, 0, 0, 0],
            &[0x30, 0x82, 1],
            &[0x31, 0],
        ] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }
}
