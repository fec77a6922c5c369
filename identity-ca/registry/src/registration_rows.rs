//! Registrations as the database has them.

use std::collections::{BTreeMap, BTreeSet};

use signet_spiffe::{NodeName, SpiffeId, UnixTime};

use crate::database::{StorageError, seconds};
use crate::lists;
use crate::many::{any_of, joined, many, next};
use crate::registration_id::RegistrationId;
use crate::registrations::{NewRegistration, Registration};
use crate::selector::Selector;
use crate::sql::{self, Connection};
use crate::terms::{Role, SvidTerms};

/// The columns of [`Row`], with what stands behind them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, spiffe_id, node, selectors, number, ttl, federates_with, hint, dns_names, key_type, jwt_ttl, role,
                    ordinal, downstream
             FROM registrations JOIN identities USING (spiffe_id) ",
            $rest
        )
    };
}

/// Id, SPIFFE ID, node, selectors, identity number, TTL, other trust domains, hint, DNS names, key type, TTL of tokens,
/// role, ordinal, whether it may run a CA.
type Row = (
    String,
    String,
    String,
    String,
    i64,
    i64,
    String,
    String,
    String,
    String,
    i64,
    String,
    i64,
    i64,
);

pub(crate) async fn find(
    connection: &mut Connection,
    id: RegistrationId,
) -> Result<Option<Registration>, StorageError> {
    let row: Option<Row> = sql::query_as(select!("WHERE id = ?"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(parse).transpose()
}

/// Of all nodes, in no order.
pub(crate) async fn all(connection: &mut Connection) -> Result<Vec<Registration>, StorageError> {
    let rows: Vec<Row> = sql::query_as(select!("")).fetch_all(connection).await?;
    rows.into_iter().map(parse).collect()
}

/// Of all nodes, by SPIFFE ID and node.
pub(crate) async fn sorted(connection: &mut Connection) -> Result<Vec<Registration>, StorageError> {
    let rows: Vec<Row> = sql::query_as(select!("ORDER BY spiffe_id, node, selectors"))
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(parse).collect()
}

/// In the order in which they were made.
pub(crate) async fn of_node(
    connection: &mut Connection,
    node: &NodeName,
) -> Result<Vec<Registration>, StorageError> {
    let rows: Vec<Row> = sql::query_as(select!("WHERE node = ? ORDER BY ordinal, id"))
        .bind(node.as_str())
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(parse).collect()
}

/// One with the same SPIFFE ID, node and selectors.
pub(crate) async fn find_same(
    connection: &mut Connection,
    spiffe_id: &SpiffeId,
    node: &NodeName,
    selectors: &[Selector],
) -> Result<Option<RegistrationId>, StorageError> {
    let row: Option<(String,)> =
        sql::query_as("SELECT id FROM registrations WHERE spiffe_id = ? AND node = ? AND selectors = ?")
            .bind(spiffe_id.as_str())
            .bind(node.as_str())
            .bind(lists::join(selectors))
            .fetch_optional(connection)
            .await?;
    let corrupt = |_| StorageError::Corrupt {
        column: "registrations.id",
    };
    row.map(|(id,)| id.parse().map_err(corrupt)).transpose()
}

/// Of several, those that there are, in no order.
pub(crate) async fn find_all(
    connection: &mut Connection,
    ids: &[RegistrationId],
) -> Result<Vec<Registration>, StorageError> {
    let mut found = Vec::with_capacity(ids.len());
    let mut rest = ids;
    while let Some((now, later)) = next(rest) {
        let query = sql::query_as(any_of(select!("WHERE id"), now.len()));
        let query = now.iter().fold(query, |query, id| query.bind(id.to_string()));
        let rows: Vec<Row> = query.fetch_all(&mut *connection).await?;
        for row in rows {
            found.push(parse(row)?);
        }
        rest = later;
    }
    Ok(found)
}

/// The selectors of a registration, as they are kept, and its name.
type Placed = (String, RegistrationId);

/// What is registered there: of each SPIFFE ID on its node.
pub(crate) async fn at_places(
    connection: &mut Connection,
    places: &BTreeSet<(&SpiffeId, &NodeName)>,
) -> Result<BTreeMap<(SpiffeId, NodeName), Vec<Placed>>, StorageError> {
    let places: Vec<_> = places.iter().collect();
    let corrupt = |column| StorageError::Corrupt { column };
    let mut found = BTreeMap::<_, Vec<_>>::new();
    let mut rest = places.as_slice();
    while let Some((now, later)) = next(rest) {
        // As a join, each pair is looked up by the index that has both. Of `OR`s with one node in all of them PostgreSQL would read that node's.
        let query = sql::query_as(joined(
            "SELECT id, spiffe_id, node, selectors FROM",
            2,
            now.len(),
            "JOIN registrations ON spiffe_id = wanted.column1 AND node = wanted.column2",
        ));
        let query = now.iter().fold(query, |query, (id, node)| {
            query.bind(id.as_str()).bind(node.as_str())
        });
        let rows: Vec<(String, String, String, String)> = query.fetch_all(&mut *connection).await?;
        for (id, spiffe_id, node, selectors) in rows {
            let id: RegistrationId = id.parse().map_err(|_| corrupt("registrations.id"))?;
            let spiffe_id = SpiffeId::parse(&spiffe_id).map_err(|_| corrupt("registrations.spiffe_id"))?;
            let node = NodeName::parse(&node).map_err(|_| corrupt("registrations.node"))?;
            found.entry((spiffe_id, node)).or_default().push((selectors, id));
        }
        rest = later;
    }
    Ok(found)
}

/// The place of the last of all that are there; zero where there are none.
pub(crate) async fn last_ordinal(connection: &mut Connection) -> Result<i64, StorageError> {
    let (last,): (i64,) = sql::query_as("SELECT COALESCE(MAX(ordinal), 0) FROM registrations")
        .fetch_one(connection)
        .await?;
    Ok(last)
}

/// Enters new ones.
pub(crate) async fn insert(
    connection: &mut Connection,
    new: &[Registration],
    now: UnixTime,
) -> Result<(), StorageError> {
    let mut rest = new;
    while let Some((these, later)) = next(rest) {
        let mut query = sql::query(many(
            "INSERT INTO registrations (id, spiffe_id, node, selectors, ttl, created_at, federates_with, hint, dns_names,
                                        key_type, jwt_ttl, role, downstream, ordinal)",
            14,
            these.len(),
        ));
        for one in these {
            let terms = &one.terms;
            query = query
                .bind(one.id.to_string())
                .bind(one.spiffe_id.as_str())
                .bind(one.node.as_str())
                .bind(lists::join(&one.selectors))
                .bind(one.ttl)
                .bind(seconds(now))
                .bind(lists::join(&one.federates_with))
                .bind(hint(terms))
                .bind(lists::join(&terms.dns_names))
                .bind(terms.key_type.as_str())
                .bind(terms.jwt_ttl)
                .bind(role(one.role))
                .bind(terms.downstream)
                .bind(i64::try_from(one.ordinal).unwrap_or(i64::MAX));
        }
        query.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

/// Everything but who and where, and the place in the order.
pub(crate) async fn update(connection: &mut Connection, to: &NewRegistration) -> Result<(), StorageError> {
    let terms = &to.terms;
    sql::query(
        "UPDATE registrations SET selectors = ?, ttl = ?, federates_with = ?, hint = ?, dns_names = ?, key_type = ?,
                                  jwt_ttl = ?, role = ?, downstream = ?
         WHERE id = ?",
    )
    .bind(lists::join(&to.selectors))
    .bind(to.ttl)
    .bind(lists::join(&to.federates_with))
    .bind(hint(terms))
    .bind(lists::join(&terms.dns_names))
    .bind(terms.key_type.as_str())
    .bind(terms.jwt_ttl)
    .bind(role(to.role))
    .bind(terms.downstream)
    .bind(to.id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn count(connection: &mut Connection) -> Result<i64, StorageError> {
    let (count,): (i64,) = sql::query_as("SELECT COUNT(*) FROM registrations")
        .fetch_one(connection)
        .await?;
    Ok(count)
}

fn hint(terms: &SvidTerms) -> &str {
    terms.hint.as_ref().map_or("", |hint| hint.as_str())
}

fn role(role: Option<Role>) -> &'static str {
    role.map_or("", Role::as_str)
}

fn parse(row: Row) -> Result<Registration, StorageError> {
    let (
        id,
        spiffe_id,
        node,
        selectors,
        identity,
        ttl,
        federates_with,
        hint,
        dns_names,
        key_type,
        jwt_ttl,
        role,
        ordinal,
        downstream,
    ) = row;
    let corrupt = |column| StorageError::Corrupt { column };
    let given = |text: &String| !text.is_empty();
    let terms = SvidTerms {
        hint: Some(hint)
            .filter(given)
            .map(|hint| hint.parse().map_err(|_| corrupt("registrations.hint")))
            .transpose()?,
        dns_names: lists::split(&dns_names, "registrations.dns_names")?,
        key_type: key_type.parse().map_err(|_| corrupt("registrations.key_type"))?,
        jwt_ttl: jwt_ttl.try_into().map_err(|_| corrupt("registrations.jwt_ttl"))?,
        downstream: downstream != 0,
    };
    Ok(Registration {
        id: id.parse().map_err(|_| corrupt("registrations.id"))?,
        spiffe_id: SpiffeId::parse(&spiffe_id).map_err(|_| corrupt("registrations.spiffe_id"))?,
        node: NodeName::parse(&node).map_err(|_| corrupt("registrations.node"))?,
        selectors: lists::split(&selectors, "registrations.selectors")?,
        identity: identity.try_into().map_err(|_| corrupt("identities.number"))?,
        ttl: ttl.try_into().map_err(|_| corrupt("registrations.ttl"))?,
        federates_with: lists::split(&federates_with, "registrations.federates_with")?,
        terms,
        role: Some(role)
            .filter(given)
            .map(|role| role.parse().map_err(|_| corrupt("registrations.role")))
            .transpose()?,
        ordinal: ordinal.try_into().map_err(|_| corrupt("registrations.ordinal"))?,
    })
}
