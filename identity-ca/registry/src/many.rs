//! Many rows per statement, in numbers that are powers of two: few different texts, so that each is prepared once.

use sqlx::AssertSqlSafe;

/// Most rows of one statement; a power of two.
const ROWS: usize = 64;

/// How many of so many rows go into the next statement.
pub(crate) fn batch(rows: usize) -> usize {
    rows.checked_ilog2().map_or(0, |power| 1 << power).min(ROWS)
}

/// Those that go into the next statement, and those that are left after it; nothing where there are none.
pub(crate) fn next<T>(rows: &[T]) -> Option<(&[T], &[T])> {
    rows.split_at_checked(batch(rows.len()))
        .filter(|(now, _)| !now.is_empty())
}

/// The statement for what belongs to so many rows of so many columns, which are called `wanted`.
pub(crate) fn joined(
    select: &'static str,
    columns: usize,
    rows: usize,
    join: &'static str,
) -> AssertSqlSafe<String> {
    // Texts of ours, and question marks.
    AssertSqlSafe(format!(
        "{select} ({}) AS wanted {join}",
        many("", columns, rows).0
    ))
}

/// The statement for so many rows of so many columns.
pub(crate) fn many(insert: &'static str, columns: usize, rows: usize) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(", "));
    // Nothing in it but a text of ours, and question marks.
    AssertSqlSafe(format!("{insert} VALUES {}", vec![row; rows].join(", ")))
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
}
