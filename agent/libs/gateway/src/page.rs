//! Lists that come in pages. "Could not read" and "nothing there" are different types, and a list that may be cut off
//! is another type than a complete one.

use sf_protos::Rpc;
use sf_protos::common::{PageInfo, PageRequest};

use crate::call::Gateway;
use crate::class::CallClass;
use crate::error::DbError;

/// Everything there was: fit for deciding what is *not* in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete<T>(Vec<T>);

/// The beginning of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial<T> {
    /// The items of the first page.
    pub items: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

impl<T> Complete<T> {
    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Vouches that `items` is everything, for answers that are complete by their contract.
    pub fn vouched(items: Vec<T>) -> Self {
        Self(items)
    }
}

impl Gateway {
    /// Reads all pages. Rows present during the whole reading are in it exactly once.
    ///
    /// # Errors
    /// Any error of any page: what was read before is discarded.
    pub async fn collect_all<R: Rpc, T>(
        &self,
        class: CallClass,
        request: impl Fn(PageRequest) -> R,
        split: impl Fn(R::Reply) -> (Vec<T>, Option<PageInfo>),
    ) -> Result<Complete<T>, DbError> {
        let mut items = Vec::new();
        let mut token = None;
        loop {
            let reply = self.call(class, request(PageRequest { limit: 0, token })).await?;
            let (page, info) = split(reply);
            items.extend(page);
            match info {
                Some(info) if info.more => token = Some(info.next_token),
                _ => return Ok(Complete(items)),
            }
        }
    }

    /// Reads the first page only.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn first_page<R: Rpc, T>(
        &self,
        class: CallClass,
        request: impl Fn(PageRequest) -> R,
        split: impl Fn(R::Reply) -> (Vec<T>, Option<PageInfo>),
    ) -> Result<Partial<T>, DbError> {
        let reply = self.call(class, request(PageRequest::default())).await?;
        let (items, info) = split(reply);
        Ok(Partial { items, more: info.is_some_and(|i| i.more) })
    }
}
