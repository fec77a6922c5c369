//! Where a bundle endpoint is (Federation §5.2).

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::ServerName;

/// Longest URL that is taken, bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// An `https` URL without user, password or fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointUrl {
    /// Lower case; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// With the query; begins with `/`.
    path: String,
}

/// Why a text is no URL of a bundle endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// More than [`MAX_URL_BYTES`].
    #[error("the URL has more than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Anything but printable ASCII, or what RFC 3986 does not allow unescaped.
    #[error("the URL has a character in it that URLs do not have; write it percent-encoded")]
    Character,
    /// Another scheme (§5.2.1.1, §5.2.2.1).
    #[error("the URL does not begin with https://")]
    NotHttps,
    /// `user@` (§5.2.1.1, §5.2.2.1).
    #[error("the URL has a user in it, which bundle endpoints do not take")]
    User,
    /// `#…`.
    #[error("the URL has a fragment (#…), which no server is ever sent")]
    Fragment,
    /// Neither a DNS name nor an IP address.
    #[error("the URL's host is neither a DNS name nor an IP address")]
    Host,
    /// Not 1 to 65535.
    #[error("the URL's port is no number from 1 to 65535")]
    Port,
}

impl EndpointUrl {
    /// Parses a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        const SCHEME: &str = "https://";
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(UrlError::NotHttps)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(UrlError::NotHttps);
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = split_port(authority)?;
        if ServerName::try_from(host).is_err() {
            return Err(UrlError::Host);
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }

    /// The name or address to connect to, which the server's certificate has to have under `https_web`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to ask for there: path and query.
    pub fn path_and_query(&self) -> &str {
        &self.path
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether there is a query.
    pub fn has_query(&self) -> bool {
        self.path.contains('?')
    }

    /// Host and port as in the header `host`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == 443 {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Where a `location` header points to, as seen from here: another URL, or a path on the same host. Other relative
    /// references are not followed.
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.starts_with("//") {
            return Self::parse(&format!("https:{location}"));
        }
        if location.starts_with('/') {
            return Self::parse(&format!("https://{}{location}", self.authority()));
        }
        Self::parse(location)
    }
}

fn split_port(authority: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        if !address.contains(':') {
            return Err(UrlError::Host);
        }
        match port {
            "" => (address, None),
            port => (address, Some(port.strip_prefix(':').ok_or(UrlError::Host)?)),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        None => 443,
        Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) => return Err(UrlError::Port),
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?,
    };
    Ok((host, port))
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path)
    }
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_row_67_an_endpoint_s_url_is_https_and_has_no_user() {
        for (text, shown, port) in [
            ("https://b.example", "https://b.example/", 443),
            (
                "HTTPS://B.Example:8443/x?y=z",
                "https://b.example:8443/x?y=z",
                8443,
            ),
            ("https://b.example:443?y", "https://b.example/?y", 443),
            ("https://127.0.0.1:1/", "https://127.0.0.1:1/", 1),
            ("https://[::1]:8443/a", "https://[::1]:8443/a", 8443),
        ] {
            let url = EndpointUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.port()), (shown, port), "{text}");
            assert_eq!(EndpointUrl::parse(shown), Ok(url));
        }
        for (text, error) in [
            ("http://b.example/", UrlError::NotHttps),
            ("spiffe://b.example/", UrlError::NotHttps),
            ("b.example", UrlError::NotHttps),
            ("", UrlError::NotHttps),
            ("https://user@b.example/", UrlError::User),
            ("https://u:p@b.example/", UrlError::User),
            ("https://b.example/#x", UrlError::Fragment),
            ("https:///x", UrlError::Host),
            ("https://b example/", UrlError::Character),
            ("https://b.example/\r\nhost:x", UrlError::Character),
            ("https://bücher.example/", UrlError::Character),
            ("https://[::1/", UrlError::Host),
            ("https://[127.0.0.1]/", UrlError::Host),
            ("https://::1/", UrlError::Port),
            ("https://b.example:0/", UrlError::Port),
            ("https://b.example:+1/", UrlError::Port),
            ("https://b.example:65536/", UrlError::Port),
        ] {
            assert_eq!(EndpointUrl::parse(text), Err(error), "{text}");
        }
        let long = format!("https://b.example/{}", "x".repeat(MAX_URL_BYTES));
        assert_eq!(EndpointUrl::parse(&long), Err(UrlError::TooLong));
    }
}
