//! Many rows per statement.
//!
//! SQLite takes a list of rows, in numbers that are powers of two: few different texts, so that each is prepared once. PostgreSQL
//! takes an array per column: one text, and one way to the server and back, for however many.

use sqlx::{AssertSqlSafe, Error};

use crate::sql::{self, Connection, Value};

/// Most rows of one statement; a power of two.
const ROWS: usize = 64;

/// How many of so many rows go into the next statement.
pub(crate) fn batch(rows: usize) -> usize {
    rows.checked_ilog2().map_or(0, |power| 1 << power).min(ROWS)
}

/// Inserts rows. `insert` is the statement up to the columns' names; a column's values are all of one type.
pub(crate) async fn insert_all<const N: usize>(
    connection: &mut Connection,
    insert: &'static str,
    mut rows: Vec<[Value; N]>,
) -> Result<(), Error> {
    if let Connection::Postgres(on) = connection {
        let Some(columns) = columns(rows)? else {
            return Ok(());
        };
        let types: Vec<_> = (1..)
            .zip(&columns)
            .map(|(number, column)| column.cast(number))
            .collect();
        let text = format!("{insert} SELECT * FROM unnest({})", types.join(", "));
        // Nothing in it but texts of ours.
        let query =
            columns
                .into_iter()
                .fold(sqlx::query(AssertSqlSafe(text)), |query, column| match column {
                    Column::Integer(values) => query.bind(values),
                    Column::Text(values) => query.bind(values),
                    Column::Bytes(values) => query.bind(values),
                });
        query.execute(&mut **on).await?;
        return Ok(());
    }
    while !rows.is_empty() {
        let count = batch(rows.len());
        let query = sql::query(many(insert, N, count));
        let values = rows.drain(..count).flatten();
        values
            .fold(query, |query, value| query.bind(value))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// The statement for so many rows of so many columns.
fn many(insert: &'static str, columns: usize, rows: usize) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(", "));
    // Nothing in it but a text of ours, and question marks.
    AssertSqlSafe(format!("{insert} VALUES {}", vec![row; rows].join(", ")))
}

/// The values of one column, row by row.
#[derive(Debug)]
enum Column {
    Integer(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Column {
    fn of_type(value: &Value, rows: usize) -> Self {
        match value {
            Value::Integer(_) => Self::Integer(Vec::with_capacity(rows)),
            Value::Text(_) => Self::Text(Vec::with_capacity(rows)),
            Value::Bytes(_) => Self::Bytes(Vec::with_capacity(rows)),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Error> {
        match (self, value) {
            (Self::Integer(values), Value::Integer(value)) => values.push(value),
            (Self::Text(values), Value::Text(value)) => values.push(value),
            (Self::Bytes(values), Value::Bytes(value)) => values.push(value),
            (Self::Integer(_) | Self::Text(_) | Self::Bytes(_), _) => {
                return Err(Error::Protocol("a column has values of two types".to_owned()));
            }
        }
        Ok(())
    }

    fn cast(&self, number: usize) -> String {
        let of = match self {
            Self::Integer(_) => "bigint",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytea",
        };
        format!("${number}::{of}[]")
    }
}

/// None where there is no row.
fn columns<const N: usize>(rows: Vec<[Value; N]>) -> Result<Option<Vec<Column>>, Error> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut columns: Vec<_> = first
        .iter()
        .map(|value| Column::of_type(value, rows.len()))
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value)?;
        }
    }
    Ok(Some(columns))
}

/// The statement for rows whose column is one of so many values.
pub(crate) fn any_of(select: &'static str, values: usize) -> AssertSqlSafe<String> {
    // The same.
    AssertSqlSafe(format!("{select} IN ({})", vec!["?"; values].join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_few_different_numbers() {
        let sizes: Vec<_> = [0, 1, 3, 63, 64, 500].into_iter().map(batch).collect();
        assert_eq!(sizes, [0, 1, 2, 32, 64, 64]);
        assert_eq!(
            many("INSERT INTO t (a, b)", 2, 2).0,
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)"
        );
    }

    #[test]
    fn rows_are_turned_into_columns_of_one_type_each() {
        let rows = vec![
            [Value::from(7_i64), Value::Bytes(None)],
            [Value::Integer(None), Value::from(vec![1_u8])],
        ];
        let turned = columns(rows).unwrap().unwrap();
        assert_eq!(
            [turned[0].cast(1), turned[1].cast(2)],
            ["$1::bigint[]", "$2::bytea[]"]
        );
        assert!(matches!(&turned[0], Column::Integer(values) if *values == [Some(7), None]));
        assert!(matches!(&turned[1], Column::Bytes(values) if *values == [None, Some(vec![1])]));
        assert!(columns(vec![[Value::from(7_i64)], [Value::from("7")]]).is_err());
        assert!(columns::<2>(Vec::new()).unwrap().is_none());
    }
}
