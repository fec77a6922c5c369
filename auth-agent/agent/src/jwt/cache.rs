//! Which tokens there are, and what becomes of a request for one. Pure: the clocks are arguments.
//!
//! A token serves while it lives. Past about half of its life the next request has it renewed; past three quarters a
//! request waits for that. There is one flight to the CA per identity and audience, whoever asks. Each identity has bounds
//! of its own on tokens, flights and pace, so that a hasty workload crowds out nobody but itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signet_spiffe::{Audience, SerialNumber, SpiffeId};
use signet_workload_api::{JwtSvid, Pace, Paced};
use tokio::sync::watch;

use crate::clock::{backoff, scale};

/// Tokens kept for one identity. How many identities there are is the CA's decision.
const TOKENS: usize = 256;
/// Flights of one identity at once.
const FLIGHTS: usize = 8;
/// Flights of one identity in time.
const PACE: Pace = Pace {
    burst: 512,
    interval: Duration::from_millis(50),
};
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What a flight came to, told to those who wait for it. `None`: nothing yet.
pub(super) type Outcome = Option<Result<Arc<JwtSvid>, String>>;

/// Both clocks: one for the life of tokens, one for waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Seconds since 1970.
    pub(super) unix: u64,
    pub(super) clock: Instant,
}

/// A token from the CA, verified.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) svid: Arc<JwtSvid>,
    /// ID of the key that verified it.
    pub(super) key_id: String,
    /// By which it can be revoked.
    pub(super) serial: Option<SerialNumber>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// Here it is.
    Serve(Arc<JwtSvid>),
    /// Wait for a flight. If there is `meanwhile`, it is still good, and better than nothing.
    Wait {
        flight: watch::Receiver<Outcome>,
        meanwhile: Option<Arc<JwtSvid>>,
    },
    /// There is nothing, and why.
    Refuse(String),
}

/// A flight to make, besides the answer.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: SpiffeId,
    pub(super) audience: Audience,
    number: u64,
    land: watch::Sender<Outcome>,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    identities: BTreeMap<SpiffeId, Identity>,
    /// Counts requests, for "used last", and flights.
    count: u64,
}

#[derive(Debug)]
struct Identity {
    slots: HashMap<Audience, Slot>,
    pace: Paced,
}

#[derive(Debug, Default)]
struct Slot {
    token: Option<Token>,
    flight: Option<(u64, watch::Receiver<Outcome>)>,
    used: u64,
    failures: u32,
    /// Not before this after a failure.
    retry_at: Option<Instant>,
    last_error: String,
}

#[derive(Debug)]
struct Token {
    fresh: Fresh,
    renew_at: u64,
    wait_at: u64,
}

impl Slot {
    fn alive(&self, now: Now) -> Option<&Token> {
        let token = self.token.as_ref()?;
        (now.unix < token.fresh.svid.expires().as_secs()).then_some(token)
    }

    /// A flight that is still under way; one whose task has gone is none.
    fn flight(&self) -> Option<&watch::Receiver<Outcome>> {
        let (_, flight) = self.flight.as_ref()?;
        flight.has_changed().is_ok().then_some(flight)
    }
}

impl Cache {
    /// Decides on a request, and whether a flight has to be made for it.
    pub(super) fn ask(&mut self, id: &SpiffeId, audience: &Audience, now: Now) -> (Answer, Option<Flight>) {
        self.count += 1;
        let count = self.count;
        let identity = self.identities.entry(id.clone()).or_insert_with(|| Identity {
            slots: HashMap::new(),
            pace: Paced::new(now.clock),
        });
        if let Some(slot) = identity.slots.get_mut(audience) {
            slot.used = count;
            let serve = slot.alive(now).filter(|token| now.unix < token.renew_at);
            if let Some(token) = serve {
                return (Answer::Serve(token.fresh.svid.clone()), None);
            }
            let meanwhile = slot.alive(now);
            let patient = meanwhile.filter(|token| now.unix < token.wait_at);
            let patient = patient.map(|token| token.fresh.svid.clone());
            let meanwhile = meanwhile.map(|token| token.fresh.svid.clone());
            if let Some(flight) = slot.flight() {
                let wait = || Answer::Wait {
                    flight: flight.clone(),
                    meanwhile,
                };
                return (patient.map_or_else(wait, Answer::Serve), None);
            }
            if slot.retry_at.is_some_and(|retry_at| now.clock < retry_at) {
                let refuse = || Answer::Refuse(slot.last_error.clone());
                return (meanwhile.map_or_else(refuse, Answer::Serve), None);
            }
        }
        identity.launch(id, audience, count, now)
    }

    /// Takes what a flight came to, and tells those who wait. It is nothing worth if its identity has gone meanwhile.
    pub(super) fn land(&mut self, flight: Flight, result: Result<Fresh, String>, now: Now, random: u64) {
        let Flight {
            id,
            audience,
            number,
            land,
        } = flight;
        let of_this = |slot: &&mut Slot| slot.flight.as_ref().is_some_and(|(other, _)| *other == number);
        let slot = self
            .identities
            .get_mut(&id)
            .and_then(|identity| identity.slots.get_mut(&audience))
            .filter(of_this);
        let Some(slot) = slot else {
            let gone = format!("{id} is not registered here any more");
            land.send_replace(Some(Err(gone)));
            return;
        };
        slot.flight = None;
        let outcome = match result {
            Ok(fresh) => {
                slot.failures = 0;
                slot.retry_at = None;
                let svid = fresh.svid.clone();
                slot.token = Some(Token::new(fresh, now, random));
                Ok(svid)
            }
            Err(error) => {
                slot.retry_at = Some(now.clock + backoff(FIRST_RETRY, LAST_RETRY, slot.failures, random));
                slot.failures = slot.failures.saturating_add(1);
                slot.last_error.clone_from(&error);
                Err(error)
            }
        };
        land.send_replace(Some(outcome));
    }

    /// Forgets identities that are not registered here any more, tokens that are not `good`, because their key is not published
    /// any more, say, and tokens that have ended. Flights for what is forgotten land nowhere.
    pub(super) fn retain(
        &mut self,
        registered: impl Fn(&SpiffeId) -> bool,
        good: impl Fn(&SpiffeId, &Fresh) -> bool,
        now: Now,
    ) {
        self.identities.retain(|id, identity| {
            let keep = registered(id);
            if keep {
                identity.slots.retain(|_, slot| {
                    let stays = slot.alive(now).is_some_and(|token| good(id, &token.fresh));
                    if !stays {
                        slot.token = None;
                    }
                    stays || slot.flight().is_some()
                });
            }
            keep
        });
    }

    #[cfg(test)]
    fn tokens(&self) -> usize {
        let slots = self
            .identities
            .values()
            .flat_map(|identity| identity.slots.values());
        slots.filter(|slot| slot.token.is_some()).count()
    }
}

impl Identity {
    fn launch(
        &mut self,
        id: &SpiffeId,
        audience: &Audience,
        number: u64,
        now: Now,
    ) -> (Answer, Option<Flight>) {
        let slot = self.slots.get(audience);
        let meanwhile = slot.and_then(|slot| slot.alive(now));
        let patient = meanwhile.is_some_and(|token| now.unix < token.wait_at);
        let meanwhile = meanwhile.map(|token| token.fresh.svid.clone());
        let under_way = self.slots.values().filter(|slot| slot.flight().is_some()).count();
        if under_way >= FLIGHTS || !self.pace.take(PACE, now.clock) {
            let refuse = || Answer::Refuse(format!("{id} asks for too many tokens at once; try again"));
            return (meanwhile.map_or_else(refuse, Answer::Serve), None);
        }
        if !self.slots.contains_key(audience) {
            self.make_room(now);
        }
        let (land, flight) = watch::channel(None);
        let slot = self.slots.entry(audience.clone()).or_default();
        slot.flight = Some((number, flight.clone()));
        slot.used = number;
        let answer = match meanwhile {
            Some(svid) if patient => Answer::Serve(svid),
            meanwhile => Answer::Wait { flight, meanwhile },
        };
        let flight = Flight {
            id: id.clone(),
            audience: audience.clone(),
            number,
            land,
        };
        (answer, Some(flight))
    }

    /// Gives up the slot that is worth least: without a token that lives, or else the one that was used longest ago.
    fn make_room(&mut self, now: Now) {
        while self.slots.len() >= TOKENS {
            let idle = self.slots.iter().filter(|(_, slot)| slot.flight().is_none());
            let least = idle.min_by_key(|(_, slot)| (slot.alive(now).is_some(), slot.used));
            let Some(audience) = least.map(|(audience, _)| audience.clone()) else {
                // There are fewer flights than slots.
                return;
            };
            self.slots.remove(&audience);
        }
    }
}

impl Token {
    /// Renewed at 40 to 50 % of its life, by the dice, so that tokens made together are not renewed together.
    fn new(fresh: Fresh, now: Now, random: u64) -> Self {
        let life = fresh.svid.expires().as_secs().saturating_sub(now.unix);
        Self {
            fresh,
            renew_at: now.unix + life * 2 / 5 + scale(random, life / 10),
            wait_at: now.unix + life * 3 / 4,
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
