//! Join tokens as anybody could show them, mutated.

use signet_fuzz::{Counting, Fuzz, Refused};

use crate::join_token::{JoinToken, parse};

#[global_allocator]
static MEMORY: Counting = Counting;

#[test]
fn fuzz_join_tokens() {
    let token = JoinToken::new([7; 8], [9; 32]);
    let (text, wanted) = (token.to_secret_text(), token.secret_sha256());
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "join_tokens")
        .seed(&*text)
        .inputs(50_000)
        .run(|bytes| {
            let shown = str::from_utf8(bytes)?;
            let presented = parse(shown)?;
            assert_eq!(shown.len(), text.len(), "another length");
            let same_secret = shown
                .get(22..)
                .is_some_and(|secret| secret.eq_ignore_ascii_case(&text[22..]));
            assert_eq!(
                presented.secret_sha256 == wanted,
                same_secret,
                "another secret counts"
            );
            assert!(
                shown.contains(&presented.id.to_string())
                    || shown.to_lowercase().contains(&presented.id.to_string())
            );
            Ok::<_, Refused>(())
        });
}
