use std::fmt;
use std::str::FromStr;

/// Longest DNS name, bytes.
const MAX_DNS: usize = 253;
/// Longest URI that is taken, bytes.
const MAX_URI: usize = 2048;
/// Longest common name, characters (`ub-common-name` of RFC 5280).
const MAX_COMMON_NAME: usize = 64;
/// Longest serial number, bytes (RFC 5280 §4.1.2.2).
const MAX_SERIAL: usize = 20;

/// One thing that a node's certificate has to say, or its TPM has to be: `kind:value`. Each meaning has one spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeSelector {
    /// `sha256:<64 hexadecimal digits>` of the certificate in DER: this very certificate.
    Sha256(String),
    /// `dns:<name>`, one of its DNS names, without wildcards.
    Dns(String),
    /// `uri:<URI>`, one of its URIs, letter by letter.
    Uri(String),
    /// `cn:<name>`, the one common name of its subject.
    CommonName(String),
    /// `issuer-cn:<name>`, the one common name of its issuer.
    IssuerCommonName(String),
    /// `serial:<hexadecimal digits>`, its serial number, in whole bytes without leading zeros. Another issuer may have the same.
    Serial(String),
    /// `ek-sha256:<64 hexadecimal digits>` of the public key (`SubjectPublicKeyInfo`, DER) that endorses the TPM: this very TPM.
    EndorsementKey(String),
}

/// Why a text is no selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not one of the known kinds.
    #[error(
        "a node's certificate is told by sha256:<hex>, dns:<name>, uri:<URI>, cn:<common name>, issuer-cn:<common name> or \
         serial:<hex>, its TPM by ek-sha256:<hex>"
    )]
    Kind,
    /// Not a SHA-256.
    #[error("a SHA-256 has 64 hexadecimal digits in lower case")]
    Sha256,
    /// Not a DNS name in its shortest spelling.
    #[error(
        "a DNS name has lower-case labels of letters, digits and inner dashes, without wildcard and final dot"
    )]
    Dns,
    /// Not a URI.
    #[error("a URI has a scheme and printable characters without spaces, at most {MAX_URI}")]
    Uri,
    /// Not a serial number in its shortest spelling.
    #[error(
        "a serial number has 1 to {MAX_SERIAL} whole bytes in lower-case hexadecimal digits, not beginning with 00"
    )]
    Serial,
    /// Not a common name.
    #[error("a common name has 1 to {MAX_COMMON_NAME} characters without control characters")]
    CommonName,
}

impl FromStr for NodeSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let (kind, value) = text.split_once(':').ok_or(SelectorError::Kind)?;
        let owned = value.to_owned();
        let (selector, valid, otherwise) = match kind {
            "sha256" => (Self::Sha256(owned), is_sha256(value), SelectorError::Sha256),
            "ek-sha256" => (
                Self::EndorsementKey(owned),
                is_sha256(value),
                SelectorError::Sha256,
            ),
            "dns" => (Self::Dns(owned), is_dns(value), SelectorError::Dns),
            "uri" => (Self::Uri(owned), is_uri(value), SelectorError::Uri),
            "cn" => (
                Self::CommonName(owned),
                is_common_name(value),
                SelectorError::CommonName,
            ),
            "issuer-cn" => (
                Self::IssuerCommonName(owned),
                is_common_name(value),
                SelectorError::CommonName,
            ),
            "serial" => (Self::Serial(owned), is_serial(value), SelectorError::Serial),
            _ => return Err(SelectorError::Kind),
        };
        if valid { Ok(selector) } else { Err(otherwise) }
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_hexadecimal(text)
}

fn is_serial(text: &str) -> bool {
    (2..=2 * MAX_SERIAL).contains(&text.len())
        && text.len().is_multiple_of(2)
        && !text.starts_with("00")
        && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_dns(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_DNS && text.split('.').all(label)
}

fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && !rest.is_empty()
    });
    scheme && text.len() <= MAX_URI && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_common_name(text: &str) -> bool {
    (1..=MAX_COMMON_NAME).contains(&text.chars().count()) && !text.contains(char::is_control)
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, value) = match self {
            Self::Sha256(value) => ("sha256", value),
            Self::Dns(value) => ("dns", value),
            Self::Uri(value) => ("uri", value),
            Self::CommonName(value) => ("cn", value),
            Self::IssuerCommonName(value) => ("issuer-cn", value),
            Self::Serial(value) => ("serial", value),
            Self::EndorsementKey(value) => ("ek-sha256", value),
        };
        write!(f, "{kind}:{value}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_has_its_syntax() {
        let digest = "0f".repeat(32);
        for good in [
            format!("sha256:{digest}"),
            format!("ek-sha256:{digest}"),
            "dns:n1.nodes.example".into(),
            "uri:spiffe://device.example/n1".into(),
            "cn:Node No. 1: the first".into(),
            "issuer-cn:Machines".into(),
            "serial:0f10".into(),
        ] {
            assert_eq!(good.parse::<NodeSelector>().unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("", SelectorError::Kind),
            ("dns", SelectorError::Kind),
            ("DNS:a", SelectorError::Kind),
            ("sha256:0f", SelectorError::Sha256),
            ("dns:", SelectorError::Dns),
            ("dns:*.example", SelectorError::Dns),
            ("dns:N1.example", SelectorError::Dns),
            ("dns:n1.example.", SelectorError::Dns),
            ("uri:", SelectorError::Uri),
            ("uri:/n1", SelectorError::Uri),
            ("uri:a:b c", SelectorError::Uri),
            ("serial:", SelectorError::Serial),
            ("serial:00ff", SelectorError::Serial),
            ("serial:fff", SelectorError::Serial),
            ("serial:FF", SelectorError::Serial),
            ("cn:", SelectorError::CommonName),
            ("cn:a\nb", SelectorError::CommonName),
        ] {
            assert_eq!(bad.parse::<NodeSelector>(), Err(why), "{bad}");
        }
        assert!(format!("cn:{}", "a".repeat(65)).parse::<NodeSelector>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_back_as_itself(text in "(dns:|uri:|cn:|sha256:|serial:)?\\PC{0,40}") {
            if let Ok(selector) = text.parse::<NodeSelector>() {
                prop_assert_eq!(selector.to_string(), text);
            }
        }
    }
}
