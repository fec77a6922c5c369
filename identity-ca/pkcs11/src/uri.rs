//! Which token: `pkcs11:` URIs (RFC 7512).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest URI that is read, and longest value in one.
const MAX_URI: usize = 1024;

/// A token, and perhaps the module and the PIN's file that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    /// The token's label.
    pub token: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// The module's file.
    pub module_path: Option<PathBuf>,
    /// A file with the PIN.
    pub pin_source: Option<PathBuf>,
}

/// Why a text is no URI of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Another scheme, or too long.
    #[error(
        "a token is written pkcs11:token=LABEL, with serial=, manufacturer=, model=, ?module-path=FILE and &pin-source=file:FILE"
    )]
    Form,
    /// Not an attribute that names a token.
    #[error(
        "the attribute `{0}` says nothing of a token: the CA makes its keys itself, and finds them again"
    )]
    Attribute(String),
    /// It would be seen by whoever sees the command line.
    #[error(
        "a PIN does not belong into a URI: put it into a file (pin-source=file:FILE, or --pkcs11-pin-file)"
    )]
    Pin,
    /// The same attribute twice (§2.3).
    #[error("the attribute `{0}` is there twice")]
    Twice(String),
    /// A percent sign without two hexadecimal digits, or no UTF-8.
    #[error("the value of `{0}` is not percent-encoded UTF-8")]
    Encoding(String),
    /// The PIN has to be in a file: no command is run for it.
    #[error("pin-source is a file: write file:/PATH or /PATH")]
    PinSource,
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix("pkcs11:").filter(|_| text.len() <= MAX_URI);
        let rest = rest.ok_or(UriError::Form)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = split(attribute)?;
            let place = match name {
                "token" => &mut uri.token,
                "serial" => &mut uri.serial,
                "manufacturer" => &mut uri.manufacturer,
                "model" => &mut uri.model,
                other => return Err(UriError::Attribute(other.to_owned())),
            };
            if place.replace(value).is_some() {
                return Err(UriError::Twice(name.to_owned()));
            }
        }
        for attribute in query
            .unwrap_or_default()
            .split('&')
            .filter(|attribute| !attribute.is_empty())
        {
            let (name, value) = split(attribute)?;
            let (place, value) = match name {
                "module-path" => (&mut uri.module_path, value),
                "pin-source" => (&mut uri.pin_source, pin_file(&value)?),
                "pin-value" => return Err(UriError::Pin),
                other => return Err(UriError::Attribute(other.to_owned())),
            };
            if place.replace(PathBuf::from(value)).is_some() {
                return Err(UriError::Twice(name.to_owned()));
            }
        }
        Ok(uri)
    }
}

/// What tells tokens apart, for people.
impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
        ];
        let known: Vec<_> = parts
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
            .collect();
        write!(f, "pkcs11:{}", known.join(";"))
    }
}

fn split(attribute: &str) -> Result<(&str, String), UriError> {
    let (name, value) = attribute.split_once('=').ok_or(UriError::Form)?;
    if name == "pin-value" {
        return Err(UriError::Pin);
    }
    let value = decode(value).ok_or_else(|| UriError::Encoding(name.to_owned()))?;
    Ok((name, value))
}

fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let digits = digits.map(|digit| char::from(digit).to_digit(16));
            let [Some(high), Some(low)] = digits else {
                return None;
            };
            bytes.push(u8::try_from(high * 16 + low).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn pin_file(value: &str) -> Result<String, UriError> {
    let path = value.strip_prefix("file:").unwrap_or(value);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err(UriError::PinSource)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_names_a_token_its_module_and_the_file_with_its_pin() {
        let uri: Pkcs11Uri =
            "pkcs11:token=The%20Software%20PKCS%2311;serial=4fd0?module-path=/usr/lib/p.so&pin-source=file:/etc/pin"
                .parse()
                .unwrap();
        assert_eq!(uri.token.as_deref(), Some("The Software PKCS#11"));
        assert_eq!(uri.serial.as_deref(), Some("4fd0"));
        assert_eq!(uri.module_path, Some("/usr/lib/p.so".into()));
        assert_eq!(uri.pin_source, Some("/etc/pin".into()));
        let bare: Pkcs11Uri = "pkcs11:token=a?pin-source=/etc/pin".parse().unwrap();
        assert_eq!(bare.pin_source, Some("/etc/pin".into()));
        assert_eq!("pkcs11:token=a?pin-source=file:///etc/pin".parse(), Ok(bare));
    }

    #[test]
    fn a_pin_and_what_is_no_attribute_of_a_token_are_refused() {
        for (text, error) in [
            ("pkcs11:token=a?pin-value=1234", UriError::Pin),
            ("pkcs11:token=a;pin-value=1234", UriError::Pin),
            (
                "pkcs11:token=a;object=key",
                UriError::Attribute("object".to_owned()),
            ),
            ("pkcs11:token=a;token=b", UriError::Twice("token".to_owned())),
            ("pkcs11:token=%4", UriError::Encoding("token".to_owned())),
            ("pkcs11:token=%ff", UriError::Encoding("token".to_owned())),
            ("pkcs11:token=a?pin-source=|/bin/pin", UriError::PinSource),
            ("http://x", UriError::Form),
            ("pkcs11:token", UriError::Form),
        ] {
            assert_eq!(text.parse::<Pkcs11Uri>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_the_reading(text in "(pkcs11:)?[a-z%;=?&0-9]{0,60}") {
            let _ = text.parse::<Pkcs11Uri>();
        }
    }
}
