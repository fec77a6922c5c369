//! Registrations as the database has them.

use signet_spiffe::{NodeName, SpiffeId, UnixTime};

use crate::database::{StorageError, seconds};
use crate::lists;
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

/// Behind all that are there.
pub(crate) async fn insert(
    connection: &mut Connection,
    new: &NewRegistration,
    now: UnixTime,
) -> Result<(), StorageError> {
    let terms = &new.terms;
    sql::query(
        "INSERT INTO registrations (id, spiffe_id, node, selectors, ttl, created_at, federates_with, hint, dns_names,
                                    key_type, jwt_ttl, role, downstream, ordinal)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM registrations))",
    )
    .bind(new.id.to_string())
    .bind(new.spiffe_id.as_str())
    .bind(new.node.as_str())
    .bind(lists::join(&new.selectors))
    .bind(new.ttl)
    .bind(seconds(now))
    .bind(lists::join(&new.federates_with))
    .bind(hint(terms))
    .bind(lists::join(&terms.dns_names))
    .bind(terms.key_type.as_str())
    .bind(terms.jwt_ttl)
    .bind(role(new.role))
    .bind(terms.downstream)
    .execute(connection)
    .await?;
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
