//! Keyset pages: the request's token names the last row seen, the reply says whether there are more.

use chrono::{DateTime, Utc};
use sf_protos::common::{PageInfo, PageRequest};

use crate::error::{StoreError, StoreResult};
use crate::sql::Sql;

/// Rows of a full page (`database-tier.md` §8.4).
pub const MAX_PAGE: u32 = 500;
/// Bytes of a full page, about (§8.4). A row that is larger is a page of its own.
const MAX_BYTES: u64 = 1 << 20;
/// What a row is taken to be beside what users wrote into it: its columns and its short children.
const ROW_BYTES: u64 = 2 << 10;

/// A page that was asked for.
#[derive(Debug, Clone)]
pub struct Page {
    limit: u32,
    token: Option<String>,
}

impl Page {
    /// Reads the request; absent means the first full page.
    pub fn new(request: Option<PageRequest>) -> Self {
        Self::up_to(MAX_PAGE, request)
    }

    /// As [`Page::new`], for rows that cost more than reading them.
    pub fn up_to(most: u32, request: Option<PageRequest>) -> Self {
        let request = request.unwrap_or_default();
        let limit = if request.limit == 0 { most } else { request.limit.min(most) };
        Self { limit, token: request.token.filter(|token| !token.is_empty()) }
    }

    /// Pages by one unique column, ascending. Appends `AND column > ? ORDER BY column LIMIT ?`.
    pub fn by_key(&self, sql: Sql, column: &str) -> Sql {
        let sql = match &self.token {
            Some(token) => sql.push(&format!(" AND {column} > ?")).bind(token),
            None => sql,
        };
        sql.push(&format!(" ORDER BY {column} LIMIT ?")).bind(self.limit + 1)
    }

    /// Pages by creation time, then UUID. Appends the condition, the order and the limit.
    ///
    /// # Errors
    /// A token that was not made by this list.
    pub fn by_creation(&self, sql: Sql, alias: &str) -> StoreResult<Sql> {
        let sql = match &self.token {
            Some(token) => {
                let (created_at, uuid) = read_creation_token(token)?;
                sql.push(&format!(
                    " AND ({alias}.created_at > ? OR ({alias}.created_at = ? AND {alias}.uuid > ?))"
                ))
                .bind(created_at)
                .bind(created_at)
                .bind(uuid)
            }
            None => sql,
        };
        Ok(sql.push(&format!(" ORDER BY {alias}.created_at, {alias}.uuid LIMIT ?")).bind(self.limit + 1))
    }

    /// Cuts the surplus row off and says where the next page begins.
    pub fn cut<T>(&self, rows: Vec<T>, token: impl Fn(&T) -> String) -> (Vec<T>, PageInfo) {
        self.cut_by_weight(rows, |_| 0, token)
    }

    /// As [`Page::cut`], and cuts off what would make the page larger than a megabyte: `weight` says how many bytes users
    /// wrote into a row. They are read for the rows that stay.
    pub fn cut_by_weight<T>(
        &self,
        mut rows: Vec<T>,
        weight: impl Fn(&T) -> u64,
        token: impl Fn(&T) -> String,
    ) -> (Vec<T>, PageInfo) {
        let mut bytes = 0;
        let fitting = rows.iter().take(self.limit as usize).take_while(|row| {
            let first = bytes == 0;
            bytes += ROW_BYTES + weight(row);
            first || bytes <= MAX_BYTES
        });
        let kept = fitting.count();
        let more = rows.len() > kept;
        rows.truncate(kept);
        let next_token = rows.last().filter(|_| more).map(token).unwrap_or_default();
        (rows, PageInfo { more, next_token })
    }
}

/// The token of a row of a list by creation time.
pub fn creation_token(created_at: DateTime<Utc>, uuid: &str) -> String {
    format!("{}.{uuid}", created_at.timestamp_micros())
}

fn read_creation_token(token: &str) -> StoreResult<(DateTime<Utc>, String)> {
    let parts = token.split_once('.').and_then(|(micros, uuid)| {
        Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, uuid.to_owned()))
    });
    parts.ok_or_else(|| StoreError::invalid("the page token is not one of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_row_announces_the_next_page() {
        let page = Page::new(Some(PageRequest { limit: 2, token: None }));
        let (rows, info) = page.cut(vec![1, 2, 3], ToString::to_string);
        assert_eq!((rows, info.more, info.next_token.as_str()), (vec![1, 2], true, "2"));
        let (rows, info) = page.cut(vec![1, 2], ToString::to_string);
        assert_eq!((rows.len(), info.more, info.next_token.as_str()), (2, false, ""));
    }

    #[test]
    fn heavy_rows_make_short_pages_and_the_heaviest_one_of_its_own() {
        const HEAVY: u64 = MAX_BYTES / 2;
        let page = Page::new(None);
        let cut = |rows: &[u64]| {
            let (rows, info) = page.cut_by_weight(rows.to_vec(), |row| *row, ToString::to_string);
            (rows.len(), info.more)
        };
        assert_eq!(cut(&[HEAVY, HEAVY - 2 * ROW_BYTES, 0]), (2, true));
        assert_eq!(cut(&[9 * MAX_BYTES, 0]), (1, true));
        assert_eq!(cut(&[0, 9 * MAX_BYTES]), (1, true));
        assert_eq!(cut(&[9 * MAX_BYTES]), (1, false));
        assert_eq!(cut(&[0; MAX_PAGE as usize]), (500, false));
        assert_eq!(cut(&[]), (0, false));
    }

    #[test]
    fn creation_tokens_round_trip() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let token = creation_token(at, "u");
        assert_eq!(read_creation_token(&token).unwrap(), (at, "u".to_owned()));
        assert!(read_creation_token("nonsense").is_err());
    }
}
