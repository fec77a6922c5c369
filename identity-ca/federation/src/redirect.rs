//! Redirects (Federation §5.2.1.4, §5.2.2.4): temporary ones, to `https` again, and not for ever.
//!
//! Where one leads to is not remembered: the next poll begins at the configured URL. The server there is checked as the
//! first one is, by whoever connects.

use crate::endpoint_url::{EndpointUrl, UrlError};

/// Most redirects of one poll.
pub const MAX_REDIRECTS: usize = 3;

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// 301, 308 and the rest: the operator alone changes where an endpoint is.
    #[error(
        "the endpoint says that it has moved for good (status {0}); change the relationship if that is true"
    )]
    Permanent(u16),
    /// Nowhere.
    #[error("the endpoint redirects, but does not say where to")]
    NoLocation,
    /// To what is no bundle endpoint.
    #[error("the endpoint redirects to where no bundle endpoint can be: {0}")]
    Location(#[from] UrlError),
    /// More than [`MAX_REDIRECTS`].
    #[error("the endpoint redirects more than {MAX_REDIRECTS} times")]
    TooMany,
}

/// Where an answer with this status leads to from `at`, after so many redirects; `None`: it is no redirect.
pub fn redirect(
    at: &EndpointUrl,
    status: u16,
    location: Option<&str>,
    followed: usize,
) -> Result<Option<EndpointUrl>, RedirectError> {
    match status {
        302 | 303 | 307 if followed >= MAX_REDIRECTS => Err(RedirectError::TooMany),
        302 | 303 | 307 => {
            let location = location.ok_or(RedirectError::NoLocation)?;
            Ok(Some(at.join(location)?))
        }
        300 | 301 | 305 | 306 | 308 => Err(RedirectError::Permanent(status)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> EndpointUrl {
        EndpointUrl::parse(text).unwrap()
    }

    #[test]
    fn spiffe_row_69_only_temporary_redirects_to_https_are_followed_and_only_a_few() {
        let here = url("https://b.example:8443/a?b");
        for (status, location, there) in [
            (302, "https://c.example/x", "https://c.example/x"),
            (303, "/y?z", "https://b.example:8443/y?z"),
            (307, "//c.example:1/", "https://c.example:1/"),
        ] {
            let next = redirect(&here, status, Some(location), 0);
            assert_eq!(next, Ok(Some(url(there))), "{location}");
        }
        for (location, error) in [
            ("http://b.example/", UrlError::NotHttps),
            ("bundle.json", UrlError::NotHttps),
            ("file:///etc/passwd", UrlError::NotHttps),
            ("https://me@b.example/", UrlError::User),
            ("", UrlError::NotHttps),
        ] {
            let refused = redirect(&here, 302, Some(location), 0);
            assert_eq!(refused, Err(RedirectError::Location(error)), "{location}");
        }
        for status in [301, 308] {
            let refused = redirect(&here, status, Some("https://c.example/"), 0);
            assert_eq!(refused, Err(RedirectError::Permanent(status)));
        }
        assert_eq!(redirect(&here, 307, None, 0), Err(RedirectError::NoLocation));
        let last = redirect(&here, 302, Some("/x"), MAX_REDIRECTS - 1);
        assert!(last.unwrap().is_some());
        let one_more = redirect(&here, 302, Some("/x"), MAX_REDIRECTS);
        assert_eq!(one_more, Err(RedirectError::TooMany));
        for status in [200, 304, 404, 500] {
            assert_eq!(redirect(&here, status, Some("/x"), 0), Ok(None));
        }
    }
}
