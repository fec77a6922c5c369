//! Join tokens as text: `sgn1.<id, 16 hex digits>.<secret, 64 hex digits>`.

use aws_lc_rs::digest::{SHA256, digest};
use signet_registry::{PresentedToken, TokenId};
use zeroize::Zeroizing;

use crate::hex;

const VERSION: &str = "sgn1";

/// A new token. The id finds it, the secret is all that matters.
pub(crate) struct JoinToken {
    id: TokenId,
    secret: Zeroizing<[u8; 32]>,
}

/// Not a join token. Says nothing of which part is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form {VERSION}.<16 hex digits>.<64 hex digits>")]
pub(crate) struct MalformedToken;

impl JoinToken {
    /// A token of these bytes, which must come from a cryptographic random source.
    pub(crate) fn new(id: [u8; 8], secret: [u8; 32]) -> Self {
        Self {
            id: TokenId(id),
            secret: Zeroizing::new(secret),
        }
    }

    pub(crate) fn id(&self) -> TokenId {
        self.id
    }

    pub(crate) fn secret_sha256(&self) -> [u8; 32] {
        sha256(&*self.secret)
    }

    /// What the operator carries to the node. A secret.
    pub(crate) fn to_secret_text(&self) -> String {
        format!("{VERSION}.{}.{}", self.id, hex::encode(&*self.secret))
    }
}

/// Reads a token that someone shows.
pub(crate) fn parse(text: &str) -> Result<PresentedToken, MalformedToken> {
    let mut parts = text.split('.');
    let (Some(VERSION), Some(id), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MalformedToken);
    };
    let secret = Zeroizing::new(hex::decode::<32>(secret).ok_or(MalformedToken)?);
    Ok(PresentedToken {
        id: TokenId(hex::decode::<8>(id).ok_or(MalformedToken)?),
        secret_sha256: sha256(&*secret),
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognized_by_id_and_hash() {
        let token = JoinToken::new([0xab; 8], [0x0f; 32]);
        let text = token.to_secret_text();
        assert_eq!(text, format!("sgn1.{}.{}", "ab".repeat(8), "0f".repeat(32)));
        let shown = parse(&text).unwrap();
        assert_eq!(
            (shown.id, shown.secret_sha256),
            (token.id(), token.secret_sha256())
        );
        let other = parse(&text.replace("0f0f", "0f0e")).unwrap();
        assert_ne!(other.secret_sha256, token.secret_sha256());
    }

    #[test]
    fn anything_else_is_no_token() {
        let good = JoinToken::new([1; 8], [2; 32]).to_secret_text();
        for bad in [
            "",
            "sgn1",
            "sgn1..",
            &good.to_uppercase(),
            &good[1..],
            &format!("{good}.x"),
            &format!("{good}0"),
            &good.replace("sgn1", "sgn2"),
            &good.replace("02", "0g"),
            &good.replace("sgn1.01", "sgn1."),
        ] {
            assert_eq!(parse(bad).err(), Some(MalformedToken), "{bad}");
        }
    }
}
