//! One SQL for both databases.
//!
//! Statements are written as SQLite has them, with `?` or `?1` for parameters, in what PostgreSQL understands too.

use std::fmt::Write as _;
use std::marker::PhantomData;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::{Query as SqlxQuery, QueryAs};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Error, FromRow, Transaction};

/// A transaction on one of them.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
    /// Without a transaction: each statement sees a state of its own.
    Single(PoolConnection<Postgres>),
}

impl Connection {
    /// Makes what was done last.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
            // Done with each statement.
            Self::Single(_) => Ok(()),
        }
    }
}

/// What both databases can turn into `Self`.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// A parameter: one of the three types that columns have.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A statement with its parameters, and the rows that it gives.
#[derive(Debug)]
pub(crate) struct Query<O> {
    text: String,
    values: Vec<Value>,
    output: PhantomData<fn() -> O>,
}

/// What a statement may be made of: this crate's source, not what comes from outside.
pub(crate) trait Text {
    fn into_text(self) -> String;
}

impl Text for &'static str {
    fn into_text(self) -> String {
        self.to_owned()
    }
}

impl Text for AssertSqlSafe<String> {
    fn into_text(self) -> String {
        self.0
    }
}

/// How many rows a statement changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done(u64);

impl Done {
    pub(crate) fn rows_affected(self) -> u64 {
        self.0
    }
}

/// A statement that gives no rows.
pub(crate) fn query(text: impl Text) -> Query<()> {
    query_as(text)
}

/// A statement that gives rows.
pub(crate) fn query_as<O>(text: impl Text) -> Query<O> {
    Query {
        text: text.into_text(),
        values: Vec::new(),
        output: PhantomData,
    }
}

impl<O> Query<O> {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    // The texts come from this crate's source alone: `query` and `query_as` take nothing else.
    fn sqlite(self) -> SqlxQuery<'static, Sqlite, SqliteArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    fn postgres(self) -> SqlxQuery<'static, Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(numbered(&self.text)));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

impl Query<()> {
    pub(crate) async fn execute(self, connection: &mut Connection) -> Result<Done, Error> {
        Ok(Done(match connection {
            Connection::Sqlite(on) => self.sqlite().execute(&mut **on).await?.rows_affected(),
            Connection::Postgres(on) => self.postgres().execute(&mut **on).await?.rows_affected(),
            Connection::Single(on) => self.postgres().execute(&mut **on).await?.rows_affected(),
        }))
    }
}

impl<O: Row> Query<O> {
    fn sqlite_as(self) -> QueryAs<'static, Sqlite, O, SqliteArguments> {
        let query = sqlx::query_as(AssertSqlSafe(self.text));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    fn postgres_as(self) -> QueryAs<'static, Postgres, O, PgArguments> {
        let query = sqlx::query_as(AssertSqlSafe(numbered(&self.text)));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    pub(crate) async fn fetch_one(self, connection: &mut Connection) -> Result<O, Error> {
        match connection {
            Connection::Sqlite(on) => self.sqlite_as().fetch_one(&mut **on).await,
            Connection::Postgres(on) => self.postgres_as().fetch_one(&mut **on).await,
            Connection::Single(on) => self.postgres_as().fetch_one(&mut **on).await,
        }
    }

    pub(crate) async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<O>, Error> {
        match connection {
            Connection::Sqlite(on) => self.sqlite_as().fetch_optional(&mut **on).await,
            Connection::Postgres(on) => self.postgres_as().fetch_optional(&mut **on).await,
            Connection::Single(on) => self.postgres_as().fetch_optional(&mut **on).await,
        }
    }

    pub(crate) async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<O>, Error> {
        match connection {
            Connection::Sqlite(on) => self.sqlite_as().fetch_all(&mut **on).await,
            Connection::Postgres(on) => self.postgres_as().fetch_all(&mut **on).await,
            Connection::Single(on) => self.postgres_as().fetch_all(&mut **on).await,
        }
    }
}

/// The same statement with PostgreSQL's parameters: `?` counts up, `?3` stays the third.
fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 16);
    let mut next = 1;
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        quoted ^= character == '\'';
        if character != '?' || quoted {
            numbered.push(character);
            continue;
        }
        numbered.push('$');
        if !characters.peek().is_some_and(char::is_ascii_digit) {
            // Writing to a String cannot fail.
            let _ = write!(numbered, "{next}");
            next += 1;
        }
    }
    numbered
}

macro_rules! values {
    ($($type:ty => $variant:ident($convert:expr);)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(Some($convert(value)))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )*};
}

values! {
    i64 => Integer(std::convert::identity);
    u16 => Integer(i64::from);
    u32 => Integer(i64::from);
    bool => Integer(i64::from);
    &str => Text(str::to_owned);
    String => Text(std::convert::identity);
    &String => Text(String::clone);
    &[u8] => Bytes(<[u8]>::to_vec);
    Vec<u8> => Bytes(std::convert::identity);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_as_sqlite_counts_them() {
        for (text, wanted) in [
            ("SELECT 1", "SELECT 1"),
            (
                "UPDATE t SET a = ?, b = ? WHERE c = ?",
                "UPDATE t SET a = $1, b = $2 WHERE c = $3",
            ),
            ("SELECT ?2, ?1, ?12", "SELECT $2, $1, $12"),
            ("SELECT '?', ?", "SELECT '?', $1"),
        ] {
            assert_eq!(numbered(text), wanted);
        }
    }
}
