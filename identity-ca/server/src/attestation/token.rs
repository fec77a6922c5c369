//! By join token: nothing is asked, for the token is known to nobody else.

use signet_proto::ca::v1::node_evidence::Proof;

use super::attestor::{Attempt, Begun, Claim, NodeAttestor};
use super::refusal::Refusal;
use crate::join_token;

/// Reads join tokens. Whether one is good the registry says, which uses it up.
#[derive(Debug, Default)]
pub(crate) struct JoinTokens;

impl NodeAttestor for JoinTokens {
    fn begin(&self, _attempt: &Attempt, proof: &Proof, _nonce: [u8; 32]) -> Result<Begun, Refusal> {
        let Proof::JoinToken(text) = proof else {
            return Err(Refusal::NoEvidence);
        };
        let token = join_token::parse(text)?;
        Ok(Begun::Proven(Claim::Token(token)))
    }
}
