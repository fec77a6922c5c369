use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use signet_tpm::{Public, Response, ResponseError, Signature, Writer, command, handle, template};
use zeroize::Zeroizing;

use crate::device::Device;
use crate::error::DevidError;
use crate::{Address, KeyBlob};

/// Longest certificate that is read out of a TPM, bytes.
const MAX_NV: u16 = 8 * 1024;
/// Bytes of it at a time: all TPMs give so many.
const NV_PIECE: u16 = 512;
/// So often a TPM that is busy is asked again.
const TRIES: u32 = 20;
/// Largest private area of a key, bytes.
const PRIVATE: usize = 2048;
/// Largest structure in an answer, bytes.
const STRUCTURE: usize = 1024;

/// Passwords of the TPM's hierarchies. Most machines have none.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    /// The owner's: keys lie under it.
    pub owner: Zeroizing<Vec<u8>>,
    /// The endorsement hierarchy's.
    pub endorsement: Zeroizing<Vec<u8>>,
}

/// A TPM, and what we have in it just now; that goes when this goes.
pub struct Tpm {
    device: Device,
    passwords: Passwords,
    open: Vec<u32>,
}

/// A key in a TPM.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub(crate) handle: u32,
    /// What it is.
    pub public: Public,
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tpm({} open)", self.open.len())
    }
}

impl Drop for Tpm {
    /// The kernel's resource manager does it by itself; a bare TPM has room for three keys.
    fn drop(&mut self) {
        for handle in std::mem::take(&mut self.open) {
            // It may have gone.
            let _ = self.device.exchange(command::flush(handle).bytes());
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "all of this blocks, as its callers know"
)]
fn pause() {
    sleep(Duration::from_millis(50));
}

impl Tpm {
    /// Opens it.
    pub fn open(address: &Address, passwords: &Passwords) -> Result<Self, DevidError> {
        let device = Device::open(address).map_err(|source| DevidError::Open {
            address: address.clone(),
            source,
        })?;
        Ok(Self {
            device,
            passwords: passwords.clone(),
            open: Vec::new(),
        })
    }

    /// Sends a command, again while the TPM is busy with something else.
    fn send(&mut self, what: &'static str, command: &Writer) -> Result<Vec<u8>, DevidError> {
        self.ask(what, command, false)
    }

    fn ask(&mut self, what: &'static str, command: &Writer, made: bool) -> Result<Vec<u8>, DevidError> {
        let mut tries = 0;
        loop {
            let answer = self.device.exchange(command.bytes())?;
            match Response::parse(&answer, made) {
                Ok(_) => return Ok(answer),
                Err(ResponseError::Refused(code)) if code.is_passing() && tries < TRIES => {
                    tries += 1;
                    pause();
                }
                Err(error) => return Err(DevidError::of(what)(error)),
            }
        }
    }

    /// Sends a command that makes something with a handle.
    fn make(&mut self, what: &'static str, command: &Writer) -> Result<(u32, Vec<u8>), DevidError> {
        let answer = self.ask(what, command, true)?;
        let made = Response::parse(&answer, true).map_err(DevidError::of(what))?;
        let handle = made.handle.unwrap_or(handle::NULL);
        self.open.push(handle);
        Ok((handle, answer))
    }

    /// Forgets a key.
    pub fn forget(&mut self, key: &Loaded) -> Result<(), DevidError> {
        self.open.retain(|open| *open != key.handle);
        self.send("end the use of a key", &command::flush(key.handle))
            .map(drop)
    }

    fn primary(
        &mut self,
        what: &'static str,
        hierarchy: u32,
        password: &[u8],
        template: &[u8],
    ) -> Result<Loaded, DevidError> {
        let (handle, answer) = self.make(what, &command::create_primary(hierarchy, password, template))?;
        let mut made = Response::parse(&answer, true).map_err(DevidError::of(what))?;
        let malformed = DevidError::malformed(what);
        let public = made.parameters.sized(STRUCTURE).and_then(Public::parse);
        Ok(Loaded {
            handle,
            public: public.map_err(malformed)?,
        })
    }

    /// The key that ours lie under.
    pub fn storage(&mut self) -> Result<Loaded, DevidError> {
        let password = self.passwords.owner.clone();
        self.primary(
            "make the storage key",
            handle::OWNER,
            &password,
            &template::storage(),
        )
    }

    /// The endorsement key of a kind.
    pub fn endorsement(&mut self, template: &[u8]) -> Result<Loaded, DevidError> {
        let password = self.passwords.endorsement.clone();
        self.primary(
            "make the endorsement key",
            handle::ENDORSEMENT,
            &password,
            template,
        )
    }

    /// Makes a key.
    pub fn create(&mut self, parent: &Loaded, template: &[u8]) -> Result<KeyBlob, DevidError> {
        let what = "make a key";
        let answer = self.send(what, &command::create(parent.handle, template))?;
        let mut made = Response::parse(&answer, false).map_err(DevidError::of(what))?;
        let mut read = |limit| made.parameters.sized(limit).map(<[u8]>::to_vec);
        let malformed = DevidError::malformed(what);
        let private = read(PRIVATE).map_err(&malformed)?;
        let public = read(STRUCTURE).map_err(&malformed)?;
        let public = Public::parse(&public).map_err(malformed)?;
        Ok(KeyBlob { private, public })
    }

    /// Loads a key that [`Tpm::create`] made; `which` is its name for people.
    pub fn load(
        &mut self,
        parent: &Loaded,
        blob: &KeyBlob,
        which: &'static str,
    ) -> Result<Loaded, DevidError> {
        let command = command::load(parent.handle, &blob.private, blob.public.as_bytes());
        let (handle, _) = self
            .make("load a key", &command)
            .map_err(|error| error.about(which))?;
        Ok(Loaded {
            handle,
            public: blob.public.clone(),
        })
    }

    /// What `signer` says of `object`: the statement, and its signature.
    pub fn certify(&mut self, object: &Loaded, signer: &Loaded) -> Result<(Vec<u8>, Vec<u8>), DevidError> {
        let what = "certify the DevID key";
        let answer = self.send(what, &command::certify(object.handle, signer.handle, &[]))?;
        let mut said = Response::parse(&answer, false).map_err(DevidError::of(what))?;
        let malformed = DevidError::malformed(what);
        let statement = said.parameters.sized(STRUCTURE).map_err(malformed)?.to_vec();
        Ok((statement, said.parameters.rest().to_vec()))
    }

    /// A signature over a SHA-256.
    pub fn sign(&mut self, key: &Loaded, digest: &[u8]) -> Result<Signature, DevidError> {
        let what = "sign";
        let answer = self.send(what, &command::sign(key.handle, digest))?;
        let said = Response::parse(&answer, false).map_err(DevidError::of(what))?;
        Signature::parse(said.parameters.rest()).map_err(DevidError::malformed(what))
    }

    /// Opens what was sealed for this TPM's endorsement key and for the name of another key of it.
    pub fn activate(
        &mut self,
        named: &Loaded,
        endorsement: &Loaded,
        blob: &[u8],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DevidError> {
        let (session, _) = self.make("begin a session", &command::start_policy_session())?;
        let password = self.passwords.endorsement.clone();
        self.send(
            "use the endorsement hierarchy",
            &command::policy_secret(handle::ENDORSEMENT, &password, session),
        )?;
        let what = "open what the CA has sealed for this TPM";
        let command = command::activate_credential(named.handle, endorsement.handle, session, blob, secret);
        let answer = Zeroizing::new(self.send(what, &command)?);
        // The session has ended with it.
        self.open.retain(|open| *open != session);
        let mut said = Response::parse(&answer, false).map_err(DevidError::of(what))?;
        let opened = said
            .parameters
            .sized(STRUCTURE)
            .map_err(DevidError::malformed(what))?;
        Ok(Zeroizing::new(opened.to_vec()))
    }

    /// What lies at an index, if something does.
    pub fn read_nv(&mut self, index: u32) -> Result<Option<Vec<u8>>, DevidError> {
        let what = "read the endorsement certificate";
        let answer = match self.send(what, &command::nv_read_public(index)) {
            Ok(answer) => answer,
            Err(error) if error.is_nothing_there() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut said = Response::parse(&answer, false).map_err(DevidError::of(what))?;
        let malformed = DevidError::malformed(what);
        let public = said.parameters.sized(STRUCTURE).map_err(&malformed)?;
        let size = public
            .last_chunk()
            .map_or(0, |size| u16::from_be_bytes(*size))
            .min(MAX_NV);
        let mut bytes = Vec::new();
        let mut offset = 0;
        while offset < size {
            let piece = NV_PIECE.min(size - offset);
            let answer = self.send(what, &command::nv_read(index, piece, offset))?;
            let mut said = Response::parse(&answer, false).map_err(DevidError::of(what))?;
            bytes.extend_from_slice(said.parameters.sized(STRUCTURE).map_err(&malformed)?);
            offset += piece;
        }
        Ok(Some(bytes))
    }
}
