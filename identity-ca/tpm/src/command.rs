//! Commands (Part 3), as bytes for a TPM. Keys of ours have no passwords: whoever can use the device can use them.

use crate::response::{PLAIN, SESSIONS};
use crate::{Writer, algorithm, handle};

/// `TPM2_CreatePrimary`: makes a key out of a hierarchy's seed, the same each time; its handle, its public area.
#[must_use]
pub fn create_primary(hierarchy: u32, password: &[u8], template: &[u8]) -> Writer {
    let parameters = new_key(template);
    with_sessions(0x131, &[hierarchy], &[password_session(password)], &parameters)
}

/// `TPM2_Create`: makes a key under a parent; its private area (which only this TPM can read), its public area.
#[must_use]
pub fn create(parent: u32, template: &[u8]) -> Writer {
    with_sessions(0x153, &[parent], &[password_session(&[])], &new_key(template))
}

/// `TPM2_Load`: a key that [`create`] made; its handle.
#[must_use]
pub fn load(parent: u32, private: &[u8], public: &[u8]) -> Writer {
    let parameters = Writer::new().sized(private).sized(public);
    with_sessions(0x157, &[parent], &[password_session(&[])], &parameters)
}

/// `TPM2_FlushContext`: forgets a key or a session.
#[must_use]
pub fn flush(object: u32) -> Writer {
    plain(0x165, &[object], &Writer::new())
}

/// `TPM2_Certify`: `signer` says that `object` is in its TPM; what it says, its signature.
#[must_use]
pub fn certify(object: u32, signer: u32, extra: &[u8]) -> Writer {
    let parameters = Writer::new().sized(extra).u16(algorithm::NULL);
    let sessions = [password_session(&[]), password_session(&[])];
    with_sessions(0x148, &[object, signer], &sessions, &parameters)
}

/// `TPM2_Sign`, of a digest of SHA-256, as the key's template says; the signature.
#[must_use]
pub fn sign(key: u32, digest: &[u8]) -> Writer {
    let parameters = Writer::new()
        .sized(digest)
        .u16(algorithm::NULL)
        // No ticket: the digest was not made by the TPM.
        .u16(0x8024)
        .u32(handle::NULL)
        .sized(&[]);
    with_sessions(0x15d, &[key], &[password_session(&[])], &parameters)
}

/// `TPM2_StartAuthSession`, of a policy, without secrets: its handle.
#[must_use]
pub fn start_policy_session() -> Writer {
    let parameters = Writer::new()
        // Nothing is made of this nonce, for the session has no key.
        .sized(&[0; 16])
        .sized(&[])
        .u8(1)
        .u16(algorithm::NULL)
        .u16(algorithm::SHA256);
    plain(0x176, &[handle::NULL, handle::NULL], &parameters)
}

/// `TPM2_PolicySecret`, with the password of a hierarchy.
#[must_use]
pub fn policy_secret(hierarchy: u32, password: &[u8], session: u32) -> Writer {
    let parameters = Writer::new().sized(&[]).sized(&[]).sized(&[]).u32(0);
    with_sessions(
        0x151,
        &[hierarchy, session],
        &[password_session(password)],
        &parameters,
    )
}

/// `TPM2_ActivateCredential`: what was sealed for the endorsement key `opener` and the name of `named`. The session ends with it.
#[must_use]
pub fn activate_credential(
    named: u32,
    opener: u32,
    opener_session: u32,
    blob: &[u8],
    secret: &[u8],
) -> Writer {
    let parameters = Writer::new().sized(blob).sized(secret);
    let sessions = [password_session(&[]), session(opener_session, &[])];
    with_sessions(0x147, &[named, opener], &sessions, &parameters)
}

/// `TPM2_MakeCredential`: the TPM's own sealing, which needs no secret of it.
#[must_use]
pub fn make_credential(opener: u32, credential: &[u8], name: &[u8]) -> Writer {
    plain(0x168, &[opener], &Writer::new().sized(credential).sized(name))
}

/// `TPM2_LoadExternal`, of a public area alone: its handle.
#[must_use]
pub fn load_public(public: &[u8]) -> Writer {
    let parameters = Writer::new().sized(&[]).sized(public).u32(handle::NULL);
    plain(0x167, &[], &parameters)
}

/// `TPM2_NV_ReadPublic`: what an index is.
#[must_use]
pub fn nv_read_public(index: u32) -> Writer {
    plain(0x169, &[index], &Writer::new())
}

/// `TPM2_NV_Read`, of an index that everybody may read.
#[must_use]
pub fn nv_read(index: u32, size: u16, offset: u16) -> Writer {
    let parameters = Writer::new().u16(size).u16(offset);
    with_sessions(0x14e, &[index, index], &[password_session(&[])], &parameters)
}

/// Sensitive area without password and data, the template, nothing to remember, no PCRs.
fn new_key(template: &[u8]) -> Writer {
    let sensitive = Writer::new().sized(&[]).sized(&[]);
    Writer::new()
        .sized(sensitive.bytes())
        .sized(template)
        .sized(&[])
        .u32(0)
}

fn password_session(password: &[u8]) -> Writer {
    session(handle::PASSWORD, password)
}

fn session(session: u32, password: &[u8]) -> Writer {
    Writer::new().u32(session).sized(&[]).u8(0).sized(password)
}

fn plain(code: u32, handles: &[u32], parameters: &Writer) -> Writer {
    frame(PLAIN, code, handles, parameters.bytes())
}

fn with_sessions(code: u32, handles: &[u32], sessions: &[Writer], parameters: &Writer) -> Writer {
    let all = sessions
        .iter()
        .fold(Writer::new(), |all, session| all.raw(session.bytes()));
    let rest = Writer::new()
        .u32(length(all.bytes().len()))
        .raw(all.bytes())
        .raw(parameters.bytes());
    frame(SESSIONS, code, handles, rest.bytes())
}

fn frame(tag: u16, code: u32, handles: &[u32], rest: &[u8]) -> Writer {
    let size = 10 + 4 * handles.len() + rest.len();
    let head = Writer::new().u16(tag).u32(length(size)).u32(code);
    handles
        .iter()
        .fold(head, |command, handle| command.u32(*handle))
        .raw(rest)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
