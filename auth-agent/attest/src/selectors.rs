use std::collections::BTreeSet;
use std::fmt;

use crate::{EndpointName, ParseSelectorError, Selector};

/// Most selectors that one registration may ask for.
pub const MAX_REQUIRED: usize = 64;

/// What is known of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors(BTreeSet<Selector>);

impl Selectors {
    /// Whether everything that a registration asks for is there. One that asks for nothing is satisfied by nobody.
    pub fn satisfies(&self, required: &RequiredSelectors) -> bool {
        !required.0.is_empty() && required.0.is_subset(&self.0)
    }

    /// Takes in what else is known.
    pub(crate) fn absorb(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// In order of type and value.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }
}

impl FromIterator<Selector> for Selectors {
    fn from_iter<T: IntoIterator<Item = Selector>>(selectors: T) -> Self {
        Self(selectors.into_iter().collect())
    }
}

impl fmt::Display for Selectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(&self.0, f)
    }
}

/// What a registration asks of a workload; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredSelectors(BTreeSet<Selector>);

/// Why a list of texts is not what a registration may ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequiredSelectorsError {
    /// Too long.
    #[error("at most {MAX_REQUIRED} selectors may be given, not {0}")]
    TooMany(usize),
    /// One of them is not a selector.
    #[error("selector {text:?}")]
    Selector {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ParseSelectorError,
    },
}

impl RequiredSelectors {
    /// Reads a registration's list. An empty list is valid and satisfied by nobody.
    ///
    /// # Errors
    /// See [`RequiredSelectorsError`].
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, RequiredSelectorsError> {
        if texts.len() > MAX_REQUIRED {
            return Err(RequiredSelectorsError::TooMany(texts.len()));
        }
        let parse = |text: &T| {
            let text = text.as_ref();
            text.parse().map_err(|source| RequiredSelectorsError::Selector {
                text: text.to_owned(),
                source,
            })
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    /// Whether whoever satisfies these satisfies `others`, too.
    pub fn imply(&self, others: &Self) -> bool {
        !others.0.is_empty() && others.0.is_subset(&self.0)
    }

    /// The endpoints among them: who satisfies all of these lives in each.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointName> {
        self.0.iter().filter_map(|selector| {
            if let Selector::Endpoint(name) = selector {
                Some(name)
            } else {
                None
            }
        })
    }
}

impl fmt::Display for RequiredSelectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(&self.0, f)
    }
}

fn write_list(selectors: &BTreeSet<Selector>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, selector) in selectors.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{selector}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attested(texts: &[&str]) -> Selectors {
        texts
            .iter()
            .map(|text| text.parse::<Selector>().unwrap())
            .collect()
    }

    fn satisfied(required: &[&str]) -> bool {
        attested(&[
            "unix:uid:1000",
            "unix:gid:1000",
            "unix:path:/usr/bin/web",
            "endpoint:shop/web",
        ])
        .satisfies(&RequiredSelectors::parse(required).unwrap())
    }

    #[test]
    fn all_that_is_asked_for_must_be_there() {
        assert!(satisfied(&["unix:uid:1000"]));
        assert!(satisfied(&[
            "endpoint:shop/web",
            "unix:path:/usr/bin/web",
            "unix:uid:1000",
            "unix:gid:1000"
        ]));
        assert!(satisfied(&["unix:uid:1000", "unix:uid:1000"]));
        assert!(!satisfied(&["unix:uid:1001"]));
        assert!(!satisfied(&["unix:uid:1000", "unix:gid:0"]));
        assert!(!satisfied(&["unix:uid:1000", "unix:uid:1001"]));
        assert!(!satisfied(&["unix:path:/usr/bin/we"]));
        assert!(!satisfied(&["endpoint:shop/client"]));
    }

    #[test]
    fn a_registration_that_asks_for_nothing_matches_nobody() {
        assert!(!satisfied(&[]));
        assert!(!Selectors::default().satisfies(&RequiredSelectors::default()));
    }

    #[test]
    fn selectors_imply_those_that_are_among_them_and_nothing_implies_none() {
        let parse = |texts: &[&str]| RequiredSelectors::parse(texts).unwrap();
        let (endpoint, both) = (
            parse(&["endpoint:shop/web"]),
            parse(&["endpoint:shop/web", "unix:uid:33"]),
        );
        assert!(both.imply(&endpoint) && endpoint.imply(&endpoint));
        assert!(!endpoint.imply(&both) && !both.imply(&parse(&["unix:uid:34"])));
        assert!(!both.imply(&parse(&[])), "which nobody satisfies");
    }

    #[test]
    fn a_list_with_one_bad_selector_is_refused_whole() {
        let error = RequiredSelectors::parse(&["unix:uid:1000", "unix:uid:x"]).unwrap_err();
        assert_eq!(error.to_string(), "selector \"unix:uid:x\"");
        let many = vec!["unix:uid:1"; MAX_REQUIRED + 1];
        assert_eq!(
            RequiredSelectors::parse(&many),
            Err(RequiredSelectorsError::TooMany(MAX_REQUIRED + 1))
        );
        assert_eq!(
            attested(&["unix:gid:2", "unix:uid:1"]).to_string(),
            "unix:uid:1, unix:gid:2"
        );
    }
}
