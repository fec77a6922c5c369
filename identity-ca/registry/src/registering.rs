//! Registrations to be, one or a thousand: what is there of them is looked up together, each is judged in its order, and what comes of them is
//! written together.
//!
//! A thousand cost some hundred statements. One by one they would cost a dozen each, for as long as which nobody else can write.

use std::collections::{BTreeMap, BTreeSet};

use signet_log::ChangeKind;
use signet_spiffe::{NodeName, SpiffeId, TrustDomain, UnixTime};

use crate::changes::Change;
use crate::database::{StorageError, Write};
use crate::federation;
use crate::identities::{self, Held};
use crate::lists;
use crate::nested;
use crate::nodes;
use crate::registration_id::RegistrationId;
use crate::registration_rows;
use crate::registrations::{MAX_REGISTRATIONS, NewRegistration, RegisterError, Registration};
use crate::sql::Connection;
use crate::tokens;

/// What new registrations are judged by: what is there, and what those before them in the same call add to it.
struct Judge {
    /// Nodes that attested, or that a token is out for.
    nodes: BTreeSet<NodeName>,
    followed: BTreeSet<TrustDomain>,
    /// Registrations by SPIFFE ID and node, with their selectors as they are kept.
    places: BTreeMap<(SpiffeId, NodeName), Vec<(String, RegistrationId)>>,
    /// SPIFFE IDs all of whose registrations, of which there are some, let them run a CA below this one.
    downstream: BTreeSet<SpiffeId>,
    /// SPIFFE IDs with a number, or that had one a day ago.
    held: BTreeMap<SpiffeId, Held>,
    /// The last one that was given.
    ordinal: i64,
    room: i64,
}

/// One that may be made.
struct Fit<'n> {
    new: &'n NewRegistration,
    /// Whether its SPIFFE ID is registered on its node for the first time.
    first: bool,
}

impl Judge {
    async fn look(
        connection: &mut Connection,
        new: &[&NewRegistration],
        now: UnixTime,
    ) -> Result<Self, StorageError> {
        let ids: BTreeSet<_> = new.iter().map(|new| &new.spiffe_id).collect();
        let on: BTreeSet<_> = new.iter().map(|new| &new.node).collect();
        let mut nodes = nodes::which_attested(connection, &on).await?;
        if nodes.len() < on.len() {
            let expected = tokens::outstanding(connection, now).await?;
            nodes.extend(expected.into_iter().map(|(node, _)| node));
        }
        let followed = if new.iter().any(|new| !new.federates_with.is_empty()) {
            federation::names(connection).await?.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let pairs: BTreeSet<_> = new.iter().map(|new| (&new.spiffe_id, &new.node)).collect();
        let places = registration_rows::at_places(connection, &pairs).await?;
        let downstream = nested::which_downstream(connection, &ids).await?;
        let held = identities::held(connection, &ids).await?;
        let ordinal = registration_rows::last_ordinal(connection).await?;
        // Each has an ordinal of its own, from 1: only where many have come and gone have they to be counted.
        let wanted = i64::try_from(new.len()).unwrap_or(i64::MAX);
        let mut room = MAX_REGISTRATIONS.saturating_sub(ordinal);
        if room < wanted {
            room = MAX_REGISTRATIONS - registration_rows::count(connection).await?;
        }
        Ok(Self {
            nodes,
            followed,
            places,
            downstream,
            held,
            ordinal,
            room,
        })
    }

    /// Whether it may be made; if so, it counts as made for those after it.
    fn admit<'n>(&mut self, new: &'n NewRegistration) -> Result<Fit<'n>, RegisterError> {
        if !self.nodes.contains(&new.node) {
            return Err(RegisterError::UnknownNode(new.node.clone()));
        }
        check_domains(&self.followed, &new.federates_with)?;
        let selectors = lists::join(&new.selectors);
        let place = self
            .places
            .entry((new.spiffe_id.clone(), new.node.clone()))
            .or_default();
        if let Some((_, existing)) = place.iter().find(|(other, _)| *other == selectors) {
            return Err(RegisterError::Exists { existing: *existing });
        }
        if !new.terms.downstream && self.downstream.contains(&new.spiffe_id) {
            return Err(RegisterError::Downstream {
                id: new.spiffe_id.clone(),
            });
        }
        if self.room <= 0 {
            return Err(RegisterError::TooMany);
        }
        self.room -= 1;
        let first = place.is_empty();
        place.push((selectors, new.id));
        // Its only one so far: those that come after it must not take that from it.
        let is_new = !self.held.get(&new.spiffe_id).is_some_and(|held| held.live);
        if new.terms.downstream && is_new && !self.held_before(&new.spiffe_id, new.id) {
            self.downstream.insert(new.spiffe_id.clone());
        }
        Ok(Fit { new, first })
    }

    /// Whether another one of this call was made for the same SPIFFE ID.
    fn held_before(&self, id: &SpiffeId, but: RegistrationId) -> bool {
        let mut of_id = self.places.iter().filter(|((other, _), _)| other == id);
        of_id.any(|(_, all)| all.iter().any(|(_, other)| *other != but))
    }

    /// Gives each SPIFFE ID its number: the one that it has or had, or a free one.
    async fn number(
        &mut self,
        connection: &mut Connection,
        fit: &[Fit<'_>],
        now: UnixTime,
    ) -> Result<Numbers, StorageError> {
        let mut seen = BTreeSet::new();
        let ids = fit.iter().map(|fit| &fit.new.spiffe_id);
        let ids: Vec<_> = ids.filter(|id| seen.insert(*id)).cloned().collect();
        let released = |id: &&SpiffeId| self.held.get(*id).is_some_and(|held| !held.live);
        let revived: Vec<_> = ids.iter().filter(released).cloned().collect();
        let without: Vec<_> = ids.into_iter().filter(|id| !self.held.contains_key(id)).collect();
        let taken: BTreeSet<_> = revived
            .iter()
            .filter_map(|id| Some(self.held.get(id)?.number))
            .collect();
        let free = identities::free(connection, without.len(), &taken, now).await?;
        let mut numbers = Numbers {
            revived,
            freed: free.freed,
            given: Vec::with_capacity(without.len()),
        };
        for (id, number) in without.into_iter().zip(free.numbers) {
            self.held.insert(id.clone(), Held { number, live: true });
            numbers.given.push((number, id));
        }
        Ok(numbers)
    }
}

/// What happens to numbers.
struct Numbers {
    /// They get theirs back.
    revived: Vec<SpiffeId>,
    /// Their last holders are forgotten.
    freed: Vec<i64>,
    given: Vec<(i64, SpiffeId)>,
}

pub(crate) fn check_domains(
    followed: &BTreeSet<TrustDomain>,
    domains: &[TrustDomain],
) -> Result<(), RegisterError> {
    match domains.iter().find(|name| !followed.contains(name)) {
        Some(unknown) => Err(RegisterError::UnknownTrustDomain(unknown.clone())),
        None => Ok(()),
    }
}

/// Registers what is in order ([`crate::registrations::in_order`]), and tells of each what became of it. With `rehearse`, or where one is
/// refused that is not there already, nothing is written: the transaction is of no more use then.
pub(crate) async fn register(
    write: &mut Write<'_>,
    new: &[&NewRegistration],
    rehearse: bool,
    now: UnixTime,
) -> Result<Vec<Result<Registration, RegisterError>>, StorageError> {
    let mut judge = Judge::look(write.connection(), new, now).await?;
    let judged: Vec<_> = new.iter().map(|new| judge.admit(new)).collect();
    let written = !rehearse && judged.iter().all(fits);
    let mut fit = Vec::with_capacity(judged.len());
    let mut verdicts = Vec::with_capacity(judged.len());
    for one in judged {
        verdicts.push(one.map(|one| fit.push(one)));
    }
    let numbers = judge.number(write.connection(), &fit, now).await?;
    let mut made = Vec::with_capacity(fit.len());
    for (place, one) in (1_i64..).zip(&fit) {
        let number = judge.held.get(&one.new.spiffe_id).map(|held| held.number);
        made.push(registration(
            one.new,
            number,
            judge.ordinal.saturating_add(place),
        )?);
    }
    if written {
        put(write, &fit, &numbers, &made, now).await?;
    }
    let mut made = made.into_iter();
    let corrupt = StorageError::Corrupt {
        column: "registrations.id",
    };
    let outcomes: Option<Vec<_>> = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Ok(()) => made.next().map(Ok),
            Err(refused) => Some(Err(refused)),
        })
        .collect();
    outcomes.ok_or(corrupt)
}

/// Whether an outcome keeps the others from nothing: it is made, or was there.
pub(crate) fn fits<T>(outcome: &Result<T, RegisterError>) -> bool {
    matches!(outcome, Ok(_) | Err(RegisterError::Exists { .. }))
}

fn registration(
    new: &NewRegistration,
    number: Option<i64>,
    ordinal: i64,
) -> Result<Registration, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(Registration {
        id: new.id,
        spiffe_id: new.spiffe_id.clone(),
        node: new.node.clone(),
        selectors: new.selectors.clone(),
        identity: number
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| corrupt("identities.number"))?,
        ttl: new.ttl,
        federates_with: new.federates_with.clone(),
        terms: new.terms.clone(),
        role: new.role,
        ordinal: ordinal.try_into().map_err(|_| corrupt("registrations.ordinal"))?,
    })
}

async fn put(
    write: &mut Write<'_>,
    fit: &[Fit<'_>],
    numbers: &Numbers,
    made: &[Registration],
    now: UnixTime,
) -> Result<(), StorageError> {
    identities::revive(write.connection(), &numbers.revived).await?;
    identities::forget(write.connection(), &numbers.freed).await?;
    identities::insert(write.connection(), &numbers.given).await?;
    registration_rows::insert(write.connection(), made, now).await?;
    let mut changes = Vec::with_capacity(2 * made.len());
    for (fit, made) in fit.iter().zip(made) {
        if fit.first {
            changes.push(Change::Identity(&made.spiffe_id));
        }
        changes.push(Change::Registration(made.id, &made.node));
    }
    write.record_all(&changes).await?;
    for made in made {
        let digest = made.digest();
        write.log(ChangeKind::Registration, made.subject(), None, Some(digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use signet_test_postgres::shared;

    use super::*;
    use crate::database::Registry;
    use crate::selector::Selector;
    use crate::sql;
    use crate::terms::SvidTerms;

    /// Far from now.
    const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_hours(500_000));

    fn new(number: u32) -> NewRegistration {
        let [a, b, c, d] = number.to_be_bytes();
        let selector: Selector = format!("unix:uid:{number}").parse().expect("valid");
        NewRegistration {
            id: RegistrationId::from_random([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]),
            // Some have an ID together.
            spiffe_id: SpiffeId::parse(&format!("spiffe://td/ns/a/sa/w{}", number / 2)).expect("valid"),
            node: NodeName::parse("n1").expect("valid"),
            selectors: vec![selector],
            ttl: 0,
            federates_with: Vec::new(),
            terms: SvidTerms::default(),
            role: None,
        }
    }

    /// Rows that PostgreSQL has looked at within this transaction.
    async fn looked_at(write: &mut Write<'_>) -> i64 {
        let (rows,): (i64,) = sql::query_as(
            "SELECT CAST(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) AS BIGINT) FROM pg_stat_xact_user_tables",
        )
        .fetch_one(write.connection())
        .await
        .expect("counts");
        rows
    }

    /// Without statistics, as in the minutes after many have come.
    #[tokio::test]
    async fn what_registrations_cost_does_not_grow_with_how_many_there_are() {
        let server = match shared() {
            Ok(server) => server,
            Err(missing) => {
                signet_skip::skip(
                    "what_registrations_cost_does_not_grow_with_how_many_there_are",
                    &missing.to_string(),
                );
                return;
            }
        };
        let registry = Registry::connect(&server.database().expect("a database"))
            .await
            .expect("connects");
        let mut write = registry.write().await.expect("a turn");
        for text in [
            "INSERT INTO nodes (number, name, pod_cidrs, addresses, session_port, attested_at, svid_not_after)
             VALUES (1, 'n1', '', '', 1, 1, 1)",
            "INSERT INTO identities (number, spiffe_id)
             SELECT 256 + n, 'spiffe://td/there/' || n FROM generate_series(1, 20000) AS n",
            "INSERT INTO registrations (id, spiffe_id, node, selectors, ttl, created_at, ordinal)
             SELECT md5(CAST(n AS TEXT)), 'spiffe://td/there/' || n, 'n1', 'unix:uid:1', 0, 0, n
             FROM generate_series(1, 20000) AS n",
        ] {
            sql::query(text).execute(write.connection()).await.expect("there");
        }
        write.commit().await.expect("commits");
        for round in 0..8 {
            let some: Vec<_> = (0..200).map(|number| new(round * 200 + number)).collect();
            let some: Vec<_> = some.iter().collect();
            let mut write = registry.write().await.expect("a turn");
            let before = looked_at(&mut write).await;
            let made = register(&mut write, &some, false, NOW).await.expect("works");
            assert!(made.iter().all(Result::is_ok), "{made:?}");
            let rows = looked_at(&mut write).await - before;
            assert!(rows < 2_000, "{rows} rows for 200 registrations in round {round}");
            write.commit().await.expect("commits");
        }
    }
}
