//! `signet ca register`, `update` and `deregister`: what registrations say.

use std::ops::RangeInclusive;

use clap::{Args, ValueEnum};
use signet_proto::ca::v1::{
    DeregisterRequest, ListRegistrationsRequest, RegisterRequest, Texts, UpdateRegistrationRequest,
};
use signet_proto::view::v1::Registration;
use signet_spiffe::{DnsName, Hint, KeyType};

use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::ca::{DeregisteredView, RegistrationView};

/// What a registration says beside who and where.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// Life of its X.509-SVIDs, seconds, 10 to 86400 [default: the CA's --svid-ttl].
    #[arg(long, value_parser = svid_life)]
    ttl: Option<u32>,
    /// Life of its JWT-SVIDs, seconds, 10 to 3600 [default: the CA's --jwt-svid-ttl, and no longer than --ttl].
    #[arg(long, value_parser = jwt_life)]
    jwt_ttl: Option<u32>,
    /// Another trust domain whose bundle these workloads get, to check its members with; may be given several times.
    #[arg(long, value_name = "TRUST-DOMAIN")]
    federates_with: Vec<String>,
    /// What the identity is for: workloads that have several are told beside each.
    #[arg(long)]
    hint: Option<Hint>,
    /// A host that its certificates also speak for; may be given several times.
    #[arg(long = "dns-name", value_name = "NAME")]
    dns_names: Vec<DnsName>,
    /// Kind of key of its certificates: p256, p384, rsa2048 or ed25519 [default: p256].
    #[arg(long, value_name = "TYPE")]
    key_type: Option<KeyType>,
    /// What the SPIFFE ID may do to the CA as an operator: reader or admin [default: nothing].
    #[arg(long, value_parser = ["reader", "admin"])]
    role: Option<String>,
    /// Its holder may run a CA below this one (`signet-ca run --upstream signet`), which can give anybody of the trust domain's names to its
    /// own nodes and workloads.
    #[arg(long)]
    downstream: bool,
}

impl Terms {
    /// The request to register.
    pub(crate) fn request(&self, spiffe_id: &str, node: &str, selectors: &[String]) -> RegisterRequest {
        let text = |text: Option<String>| text.unwrap_or_default();
        RegisterRequest {
            spiffe_id: spiffe_id.to_owned(),
            node: node.to_owned(),
            selectors: selectors.to_vec(),
            ttl: self.ttl.unwrap_or(0),
            federates_with: self.federates_with.clone(),
            hint: text(self.hint.as_ref().map(ToString::to_string)),
            dns_names: self.dns_names.iter().map(ToString::to_string).collect(),
            key_type: text(self.key_type.map(|kind| kind.to_string())),
            jwt_ttl: self.jwt_ttl.unwrap_or(0),
            role: text(self.role.clone()),
            downstream: self.downstream,
        }
    }
}

/// Arguments of `signet ca update`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is given replaces what was: all selectors, all DNS names. Its workloads go on; where certificates are to be otherwise
they get new ones at once, and use the old ones until then.

Examples:
  signet ca update 3fa9 --ttl 900 --key-type p384
  signet ca update spiffe://cluster.local/ns/shop/sa/web --dns-name web.example --dns-name www.example
  signet ca update 3fa9 --without hint --without dns-names --without ttl")]
pub(crate) struct Update {
    /// A registration's id or the beginning of it, or a SPIFFE ID that has one registration.
    what: String,
    /// What a workload must be; may be given several times.
    #[arg(long = "selector", value_name = "SELECTOR")]
    selectors: Vec<String>,
    #[command(flatten)]
    terms: Terms,
    /// What is to be as it is without being said: no hint, no DNS names, the CA's default lives. May be given several times.
    #[arg(long, value_enum, value_name = "WHAT")]
    without: Vec<Term>,
}

/// What a registration can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Term {
    Ttl,
    JwtTtl,
    FederatesWith,
    Hint,
    DnsNames,
    Role,
    Downstream,
}

impl Update {
    fn request(&self, id: &str) -> Result<UpdateRegistrationRequest, Failure> {
        let terms = &self.terms;
        let without = |term| self.without.contains(&term);
        let list =
            |values: Vec<String>, term| (without(term) || !values.is_empty()).then_some(Texts { values });
        let dns_names: Vec<_> = terms.dns_names.iter().map(ToString::to_string).collect();
        let twice = [
            (Term::Ttl, terms.ttl.is_some()),
            (Term::JwtTtl, terms.jwt_ttl.is_some()),
            (Term::FederatesWith, !terms.federates_with.is_empty()),
            (Term::Hint, terms.hint.is_some()),
            (Term::DnsNames, !dns_names.is_empty()),
            (Term::Role, terms.role.is_some()),
            (Term::Downstream, terms.downstream),
        ];
        if twice.into_iter().any(|(term, given)| given && without(term)) {
            return Err(Failure::Usage(
                "--without says the opposite of another option".to_owned(),
            ));
        }
        let request = UpdateRegistrationRequest {
            id: id.to_owned(),
            selectors: (!self.selectors.is_empty()).then(|| Texts {
                values: self.selectors.clone(),
            }),
            ttl: terms.ttl.or(without(Term::Ttl).then_some(0)),
            federates_with: list(terms.federates_with.clone(), Term::FederatesWith),
            hint: terms
                .hint
                .as_ref()
                .map(ToString::to_string)
                .or(without(Term::Hint).then(String::new)),
            dns_names: list(dns_names, Term::DnsNames),
            key_type: terms.key_type.map(|kind| kind.to_string()),
            jwt_ttl: terms.jwt_ttl.or(without(Term::JwtTtl).then_some(0)),
            role: terms.role.clone().or(without(Term::Role).then(String::new)),
            downstream: (terms.downstream || without(Term::Downstream)).then_some(terms.downstream),
        };
        let nothing = UpdateRegistrationRequest {
            id: id.to_owned(),
            ..UpdateRegistrationRequest::default()
        };
        if request == nothing {
            return Err(Failure::Usage(
                "say what is to be otherwise: see `signet ca update --help`".to_owned(),
            ));
        }
        Ok(request)
    }
}

/// Runs `signet ca update`.
pub(crate) async fn update(update: &Update, ca: &Ca, output: &Output) -> Result<(), Failure> {
    // Before anybody is asked.
    update.request("")?;
    let found = find(all(ca).await?, &update.what)?;
    let [registration] = found.as_slice() else {
        return Err(Failure::Usage(format!(
            "`{}` has {} registrations: give the id of one, as `signet ca list` shows it",
            update.what,
            found.len()
        )));
    };
    let request = update.request(&registration.id)?;
    let mut client = ca.client.clone();
    let changed = client.update_registration(request);
    output.show(&RegistrationView::from(ca.daemon.answer(changed).await?))
}

/// Runs `signet ca deregister`.
pub(crate) async fn deregister(ca: &Ca, what: &str, output: &Output) -> Result<(), Failure> {
    let found = find(all(ca).await?, what)?;
    for registration in &found {
        let request = DeregisterRequest {
            id: registration.id.clone(),
        };
        ca.daemon.answer(ca.client.clone().deregister(request)).await?;
    }
    output.show(&DeregisteredView::from(found))
}

/// All registrations.
pub(crate) async fn all(ca: &Ca) -> Result<Vec<Registration>, Failure> {
    let request = ListRegistrationsRequest {};
    Ok(ca
        .daemon
        .answer(ca.client.clone().list_registrations(request))
        .await?
        .registrations)
}

/// The registrations that a user means: all of a SPIFFE ID, or the one whose id begins so.
pub(crate) fn find(all: Vec<Registration>, what: &str) -> Result<Vec<Registration>, Failure> {
    let matches = |registration: &Registration| {
        registration.spiffe_id == what || (!what.is_empty() && registration.id.starts_with(what))
    };
    let found: Vec<_> = all.into_iter().filter(matches).collect();
    let ids = found
        .iter()
        .filter(|registration| registration.spiffe_id != what)
        .count();
    match (found.len(), ids) {
        (0, _) => Err(Failure::Failed(format!(
            "no registration `{what}`; `signet ca list` shows them"
        ))),
        (_, 2..) => Err(Failure::Usage(format!(
            "`{what}` is the beginning of several ids: give more of it"
        ))),
        _ => Ok(found),
    }
}

fn svid_life(text: &str) -> Result<u32, String> {
    let why = "SVIDs live 10 to 86400 seconds; write a whole number, or leave --ttl out for the CA's default";
    life(text, 10..=86_400).ok_or_else(|| why.to_owned())
}

fn jwt_life(text: &str) -> Result<u32, String> {
    let why = "JWT-SVIDs live 10 to 3600 seconds; write a whole number, or leave --jwt-ttl out for the CA's default";
    life(text, 10..=3600).ok_or_else(|| why.to_owned())
}

/// Seconds.
pub(crate) fn life(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    text.parse().ok().filter(|ttl| range.contains(ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Registration> {
        let one = |id: &str, spiffe_id: &str| Registration {
            id: id.into(),
            spiffe_id: spiffe_id.into(),
            ..Registration::default()
        };
        vec![
            one("aa-1", "spiffe://td/a"),
            one("aa-2", "spiffe://td/b"),
            one("bb-1", "spiffe://td/b"),
        ]
    }

    #[test]
    fn an_id_may_be_shortened_while_it_is_unambiguous_and_a_spiffe_id_means_all_of_its_registrations() {
        assert_eq!(find(all(), "aa-1").unwrap().len(), 1);
        assert_eq!(find(all(), "b").unwrap().first().unwrap().id, "bb-1");
        assert_eq!(find(all(), "spiffe://td/b").unwrap().len(), 2);
        assert!(find(all(), "aa").unwrap_err().to_string().contains("several"));
        assert!(
            find(all(), "")
                .unwrap_err()
                .to_string()
                .contains("no registration")
        );
    }
}
