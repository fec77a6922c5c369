//! The trust bundle on disk. The bundle that an agent is started with is of the day when its node was set up; authorities come
//! and go, and an agent that is restarted has to know the CA all the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use prost::Message as _;
use signet_proto::agent::v1::KeptBundle;
use signet_proto::view::v1::TrustBundle;
use signet_spiffe::{TrustDomain, X509Bundle};

use crate::replace::{Lasting, replace};

/// Name of the file in the data directory.
const NAME: &str = "trust-bundle";

/// Longest file that is read, bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The file: a digest, then the message. Replaced as a whole.
#[derive(Clone, Debug)]
pub struct BundleFile {
    path: PathBuf,
    /// Of the bundle that the agent was started with: one that an operator has put in its place since counts more.
    started_with: Vec<u8>,
}

impl BundleFile {
    /// In this directory, for an agent that was started with that text.
    pub fn new(directory: &Path, started_with: &str) -> Self {
        Self {
            path: directory.join(NAME),
            started_with: digest(&SHA256, started_with.as_bytes()).as_ref().to_vec(),
        }
    }

    /// What was written last, by an agent that was started with the same bundle. Without it the one that the agent was started with
    /// has to do.
    pub fn load(&self, trust_domain: &TrustDomain) -> Option<X509Bundle> {
        let bundle = self.kept(trust_domain)?;
        let authorities = bundle.x509_authorities.into_iter().map(Into::into).collect();
        X509Bundle::new(trust_domain.clone(), authorities).ok()
    }

    /// Whose signature makes a CA this node's own before it has said anything in this agent's life, as names of keys: whom it named in what
    /// was written last; where nothing was written, or an operator has brought another bundle since, the authorities of what was brought.
    pub fn signers(&self, trust_domain: &TrustDomain, brought: &X509Bundle) -> Vec<String> {
        match self.kept(trust_domain) {
            Some(kept) => kept.node_signers,
            None => brought.key_ids().map(ToString::to_string).collect(),
        }
    }

    fn kept(&self, trust_domain: &TrustDomain) -> Option<TrustBundle> {
        let kept = match self.read() {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the kept trust bundle is of no use");
                return None;
            }
        };
        let bundle = kept.bundle.filter(|_| kept.started_with == self.started_with)?;
        (bundle.trust_domain == trust_domain.as_str()).then_some(bundle)
    }

    fn read(&self) -> io::Result<Option<KeptBundle>> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > LONGEST => return Err(io::Error::other("it is too long")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let bytes = fs::read(&self.path)?;
        let damaged = || io::Error::other("it is damaged");
        let (sum, message) = bytes.split_at_checked(SHA256_OUTPUT_LEN).ok_or_else(damaged)?;
        if digest(&SHA256, message).as_ref() != sum {
            return Err(damaged());
        }
        KeptBundle::decode(message).map(Some).map_err(io::Error::other)
    }

    /// Writes; a crash leaves either the old or the new state.
    pub fn save(&self, bundle: &TrustBundle) -> io::Result<()> {
        let kept = KeptBundle {
            bundle: Some(bundle.clone()),
            started_with: self.started_with.clone(),
        };
        let message = kept.encode_to_vec();
        let sum = digest(&SHA256, &message);
        replace(&self.path, &[sum.as_ref(), &message], Lasting::Disk)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::parse("t.example").expect("valid")
    }

    fn bundle() -> TrustBundle {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        TrustBundle {
            trust_domain: "t.example".to_owned(),
            x509_authorities: vec![params.self_signed(&key).expect("a root").der().to_vec()],
            sequence: 2,
            ..TrustBundle::default()
        }
    }

    #[test]
    fn what_was_kept_counts_until_the_operator_brings_another_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |text| BundleFile::new(directory.path(), text);
        assert_eq!(file("first").load(&domain()), None);
        let bundle = bundle();
        file("first").save(&bundle).expect("saves");
        let kept = file("first").load(&domain()).expect("is there");
        assert_eq!(kept.authorities()[0].as_ref(), bundle.x509_authorities[0]);
        assert_eq!(file("second").load(&domain()), None);
        let other = TrustDomain::parse("other.example").expect("valid");
        assert_eq!(file("first").load(&other), None);
    }

    #[test]
    fn whoever_the_ca_named_counts_until_the_operator_brings_another_bundle() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |text| BundleFile::new(directory.path(), text);
        let brought = bundle().x509_authorities.into_iter().map(Into::into).collect();
        let brought = X509Bundle::new(domain(), brought).expect("valid");
        let by_hand: Vec<_> = brought.key_ids().map(ToString::to_string).collect();
        assert_eq!(by_hand.len(), 1);
        assert_eq!(file("first").signers(&domain(), &brought), by_hand);
        let named = vec!["named by the CA".to_owned()];
        let told = TrustBundle {
            node_signers: named.clone(),
            ..bundle()
        };
        file("first").save(&told).expect("saves");
        assert_eq!(file("first").signers(&domain(), &brought), named);
        assert_eq!(file("second").signers(&domain(), &brought), by_hand);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = BundleFile::new(directory.path(), "x");
        file.save(&bundle()).expect("saves");
        let path = directory.path().join(NAME);
        let good = fs::read(&path).expect("reads");
        let mut flipped = good.clone();
        flipped[SHA256_OUTPUT_LEN + 3] ^= 1;
        for bad in [&good[..good.len() - 1], &good[..5], &[][..], &flipped] {
            fs::write(&path, bad).expect("writes");
            assert_eq!(file.load(&domain()), None);
        }
    }
}
