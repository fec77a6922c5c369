//! A token that is open, or will be again.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use tracing::{info, warn};

use crate::error::DeviceError;
use crate::settings::Pkcs11Settings;

/// After a failure to open the token nobody tries for so long: who waits for a signature is told at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Sessions that are kept for the next signatures.
const KEPT: usize = 16;

/// A token, reached through its module. One per process and module: PKCS #11 has global state.
#[derive(Debug)]
pub(crate) struct Device {
    settings: Pkcs11Settings,
    /// Read by whoever calls the module, written by who opens it: a module must not be closed under a call.
    open: RwLock<Option<Open>>,
    /// Why it did not open the last time, and when that was.
    failed: Mutex<Option<Failure>>,
    generations: Mutex<u64>,
}

#[derive(Debug)]
struct Open {
    context: Pkcs11,
    slot: Slot,
    /// Counts how often the token was opened: handles of keys are of one opening.
    generation: u64,
    /// Holds the login.
    _keeper: Mutex<Session>,
    idle: Mutex<Vec<Session>>,
}

#[derive(Debug)]
enum Failure {
    /// Never again: see [`DeviceError::Pin`].
    Pin(String),
    /// Not at once.
    At(Instant, String),
}

impl Device {
    /// Opens the token.
    pub(crate) fn open(settings: Pkcs11Settings) -> Result<Self, DeviceError> {
        let device = Self {
            settings,
            open: RwLock::new(None),
            failed: Mutex::new(None),
            generations: Mutex::new(0),
        };
        drop(device.opened()?);
        Ok(device)
    }

    /// Does something in a session; if the token was lost meanwhile, once more after opening it anew. What is done has to be
    /// repeatable. The number tells openings apart.
    pub(crate) fn with<T>(
        &self,
        mut work: impl FnMut(&Session, u64) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let mut last = None;
        for _ in 0..2 {
            let open = self.opened()?;
            let Some(state) = open.as_ref() else {
                continue;
            };
            let generation = state.generation;
            let done = state.session().and_then(|session| {
                let done = work(&session, generation);
                // One that failed may have an operation under way.
                if done.is_ok() {
                    state.keep(session);
                }
                done
            });
            drop(open);
            match done {
                Err(error) if error.is_lost() => {
                    warn!(%error, "the token of the CA's keys was lost");
                    self.close(generation);
                    last = Some(error);
                }
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| DeviceError::Lost("it was closed".to_owned())))
    }

    fn opened(&self) -> Result<RwLockReadGuard<'_, Option<Open>>, DeviceError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(open);
        }
        drop(open);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Some(self.try_open()?);
        }
        drop(open);
        Ok(self.open.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Held by one at a time: the write lock is.
    fn try_open(&self) -> Result<Open, DeviceError> {
        let mut failed = lock(&self.failed);
        match &*failed {
            Some(Failure::Pin(said)) => return Err(DeviceError::Pin(said.clone())),
            Some(Failure::At(at, said)) if at.elapsed() < PAUSE => {
                return Err(DeviceError::Lost(said.clone()));
            }
            Some(Failure::At(..)) | None => {}
        }
        let mut generations = lock(&self.generations);
        *generations += 1;
        match self.really_open(*generations) {
            Ok(open) => {
                *failed = None;
                info!(token = %self.settings.token, "opened the token of the CA's keys");
                Ok(open)
            }
            Err(error) => {
                *failed = Some(if let DeviceError::Pin(said) = &error {
                    Failure::Pin(said.clone())
                } else {
                    Failure::At(Instant::now(), error.to_string())
                });
                Err(error)
            }
        }
    }

    fn really_open(&self, generation: u64) -> Result<Open, DeviceError> {
        let module = &self.settings.module;
        let unloadable = |reason: String| DeviceError::Module {
            module: module.display().to_string(),
            reason,
        };
        if !module.is_absolute() {
            return Err(unloadable("it is looked for nowhere else".to_owned()));
        }
        let context = Pkcs11::new(module).map_err(|error| unloadable(error.to_string()))?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        match self.log_in(&context) {
            Ok((slot, keeper)) => Ok(Open {
                context,
                slot,
                generation,
                _keeper: Mutex::new(keeper),
                idle: Mutex::default(),
            }),
            Err(error) => {
                // Modules look for tokens when they are initialized.
                let _ = context.finalize();
                Err(error)
            }
        }
    }

    fn log_in(&self, context: &Pkcs11) -> Result<(Slot, Session), DeviceError> {
        let slot = self.slot(context)?;
        let secret = self.settings.pin.read()?;
        let text = std::str::from_utf8(&secret).ok();
        let text =
            text.ok_or_else(|| DeviceError::PinForm(self.settings.pin.path().display().to_string()))?;
        let pin = AuthPin::from(text.trim_end_matches(['\n', '\r']));
        let session = context.open_rw_session(slot)?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok((slot, session)),
            Err(error) => Err(error.into()),
        }
    }

    fn slot(&self, context: &Pkcs11) -> Result<Slot, DeviceError> {
        let mut fitting = Vec::new();
        let mut known = Vec::new();
        for slot in context.get_slots_with_initialized_token()? {
            let token = context.get_token_info(slot)?;
            let name = format!("`{}` (serial {})", token.label(), token.serial_number());
            if self.fits(&token) {
                fitting.push((slot, name.clone()));
            }
            known.push(name);
        }
        let wanted = || self.settings.token.to_string();
        match fitting.as_slice() {
            [(slot, _)] => Ok(*slot),
            [] => Err(DeviceError::NoToken {
                wanted: wanted(),
                known: if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                },
            }),
            [..] => Err(DeviceError::SeveralTokens {
                wanted: wanted(),
                known: fitting
                    .into_iter()
                    .map(|(_, name)| name)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    fn fits(&self, token: &TokenInfo) -> bool {
        let wanted = &self.settings.token;
        [
            (&wanted.token, token.label()),
            (&wanted.serial, token.serial_number()),
            (&wanted.manufacturer, token.manufacturer_id()),
            (&wanted.model, token.model()),
        ]
        .into_iter()
        .all(|(wanted, is)| wanted.as_deref().is_none_or(|wanted| wanted == is))
    }

    /// Gives up an opening, unless somebody else has. Waits for calls that are under way.
    fn close(&self, generation: u64) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| open.generation == generation)
            && let Some(old) = open.take()
        {
            let context = old.context.clone();
            drop(old);
            let _ = context.finalize();
        }
    }
}

impl Open {
    fn session(&self) -> Result<Session, DeviceError> {
        if let Some(session) = lock(&self.idle).pop() {
            return Ok(session);
        }
        Ok(self.context.open_rw_session(self.slot)?)
    }

    fn keep(&self, session: Session) {
        let mut idle = lock(&self.idle);
        if idle.len() < KEPT {
            idle.push(session);
        }
    }
}

/// What is in these is whole whenever somebody could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
