//! One way to attest, as all of them look to the exchange.

use std::fmt::Debug;

use anyhow::Context as _;
use signet_log::Caller as LoggedCaller;
use signet_node_attest::{ChannelBinding, Facts, Method};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge};
use signet_registry::PresentedToken;
use signet_spiffe::{NodeName, UnixTime};

use super::config::AttestationConfig;
use super::refusal::Refusal;
use super::token::JoinTokens;
use super::tpm_devid::TpmDevidAttestor;
use super::x509pop::X509PopAttestor;

/// A way to attest. It says what was proven; whether that is allowed, the registry says.
pub(crate) trait NodeAttestor: Debug + Send + Sync {
    /// Judges what a node shows. `nonce` is of this exchange alone.
    fn begin(&self, attempt: &Attempt, proof: &Proof, nonce: [u8; 32]) -> Result<Begun, Refusal>;
}

/// What is left to do for a node that has shown its evidence.
pub(crate) enum Begun {
    /// Nothing.
    Proven(Claim),
    /// To answer this.
    Asked(NodeChallenge, Box<dyn Question>),
}

/// A challenge that has not been answered yet. It is answered once.
pub(crate) trait Question: Send {
    /// Judges the answer.
    fn answered(self: Box<Self>, attempt: &Attempt, answer: &NodeAnswer) -> Result<Claim, Refusal>;
}

/// Who wants what, over which connection.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// As it calls itself; a join token says it better.
    pub(crate) node: Option<NodeName>,
    /// The request for its SVID.
    pub(crate) request: Vec<u8>,
    /// Of the connection.
    pub(crate) binding: Option<ChannelBinding>,
    /// When it began.
    pub(crate) now: UnixTime,
}

/// What was proven.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Who shows it has the token; it is used up with admission.
    Token(PresentedToken),
    /// Who shows it has a key.
    Key(Key),
}

impl Claim {
    /// What is known of its certificate and of its TPM, for people.
    pub(crate) fn facts(&self) -> String {
        match self {
            Self::Token(_) => String::new(),
            Self::Key(key) => {
                let facts: Vec<_> = key.facts.iter().map(ToString::to_string).collect();
                facts.join(", ")
            }
        }
    }
}

/// What was proven of a node that has a key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) node: NodeName,
    pub(crate) method: Method,
    pub(crate) facts: Facts,
    pub(crate) carries_name: bool,
    /// SHA-256 of its certificate.
    pub(crate) sha256: [u8; 32],
}

impl Key {
    /// As the issuance log names it.
    pub(crate) fn logged(&self) -> LoggedCaller {
        match self.method {
            Method::X509Pop => LoggedCaller::X509Pop(self.sha256),
            Method::TpmDevid => LoggedCaller::TpmDevid(self.sha256),
        }
    }
}

impl Attempt {
    /// Who it is, where only it itself says so.
    pub(crate) fn node(&self) -> Result<&NodeName, Refusal> {
        self.node.as_ref().ok_or(Refusal::NoName)
    }

    /// What ties the exchange to its connection.
    pub(crate) fn binding(&self) -> Result<&ChannelBinding, Refusal> {
        self.binding.as_ref().ok_or(Refusal::NoBinding)
    }
}

/// The ways that are open.
#[derive(Debug, Default)]
pub(crate) struct Attestors {
    tokens: JoinTokens,
    x509pop: Option<X509PopAttestor>,
    tpm_devid: Option<TpmDevidAttestor>,
}

impl Attestors {
    /// Reads the files that are named.
    pub(crate) fn new(config: &AttestationConfig) -> anyhow::Result<Self> {
        let x509pop = config.x509pop.as_ref().map(X509PopAttestor::new).transpose();
        let tpm_devid = config.tpm_devid.as_ref().map(TpmDevidAttestor::new).transpose();
        Ok(Self {
            tokens: JoinTokens,
            x509pop: x509pop.context("failed to set up x509pop")?,
            tpm_devid: tpm_devid.context("failed to set up tpm_devid")?,
        })
    }

    /// The one for what is shown.
    pub(crate) fn of(&self, proof: &Proof) -> Result<&dyn NodeAttestor, Refusal> {
        match proof {
            Proof::JoinToken(_) => Ok(&self.tokens),
            Proof::X509pop(_) => self
                .x509pop
                .as_ref()
                .map(|attestor| attestor as &dyn NodeAttestor)
                .ok_or(Refusal::Off {
                    method: Method::X509Pop,
                    option: "--x509pop-ca",
                }),
            Proof::TpmDevid(_) => self
                .tpm_devid
                .as_ref()
                .map(|attestor| attestor as &dyn NodeAttestor)
                .ok_or(Refusal::Off {
                    method: Method::TpmDevid,
                    option: "--tpm-devid-ca and --tpm-ek-ca",
                }),
        }
    }
}
