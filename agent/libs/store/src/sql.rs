//! Statements as text with bound values, and rows read by column name.
//!
//! Most statements of the domains next door are beyond the typed query builder: takeovers decided inside `ON DUPLICATE
//! KEY UPDATE`, visibility as correlated `EXISTS`, `SKIP LOCKED` under conditions, recursive reachability. Written as
//! SQL they can be read and explained as SQL; every value is bound, never spelled into the text.

use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::deserialize::QueryableByName;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    BigInt, Binary, Bool, Double, Integer, Nullable, SmallInt, Text, TinyInt, Unsigned, Untyped,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::types::{Inet4, MariaUuid, UtcDateTime};

/// A statement under construction.
#[derive(Debug, Clone)]
#[must_use = "a statement does nothing until it is run"]
pub struct Sql {
    text: String,
    binds: Vec<Bind>,
    /// Texts that vary with the request would fill the statement cache of the session.
    varies: bool,
}

/// One bound value.
#[derive(Debug, Clone)]
pub enum Bind {
    /// `NULL`.
    Null,
    /// Text of any kind, also closed sets and addresses.
    Text(String),
    /// A count, size or position.
    Unsigned(u64),
    /// A difference.
    Signed(i64),
    /// A measurement.
    Double(f64),
    /// Truth.
    Bool(bool),
    /// A UUID.
    Uuid(Uuid),
    /// A point in time.
    Time(DateTime<Utc>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Begins a statement; every `?` takes one bound value, in order.
pub fn sql(text: impl Into<String>) -> Sql {
    Sql { text: text.into(), binds: Vec::new(), varies: false }
}

impl Sql {
    /// Binds the next value.
    pub fn bind(mut self, value: impl Into<Bind>) -> Self {
        self.binds.push(value.into());
        self
    }

    /// Appends text.
    pub fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Appends another statement part with its values.
    pub fn append(mut self, part: Sql) -> Self {
        self.text.push_str(&part.text);
        self.binds.extend(part.binds);
        self.varies |= part.varies;
        self
    }

    /// Appends a parenthesised list of values; an empty one matches nothing.
    pub fn list<B: Into<Bind>>(mut self, values: impl IntoIterator<Item = B>) -> Self {
        let before = self.binds.len();
        self.binds.extend(values.into_iter().map(Into::into));
        let marks = vec!["?"; self.binds.len() - before].join(", ");
        self.text.push_str(&if marks.is_empty() { "(NULL)".to_owned() } else { format!("({marks})") });
        self.varies = true;
        self
    }

    /// Appends `(?, ?), (?, ?), …`: the rows of an insert. There must be at least one.
    pub fn tuples<B: Into<Bind>>(mut self, rows: impl IntoIterator<Item = Vec<B>>) -> Self {
        let mut first = true;
        for row in rows {
            self.text.push_str(if first { "(" } else { ", (" });
            first = false;
            self.text.push_str(&vec!["?"; row.len()].join(", "));
            self.text.push(')');
            self.binds.extend(row.into_iter().map(Into::into));
        }
        self.varies = true;
        self
    }

    /// Runs it and answers how many rows its guard matched.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn run(self, conn: &mut Conn) -> StoreResult<usize> {
        Ok(self.execute(conn).await?)
    }

    /// All rows.
    ///
    /// # Errors
    /// Those of the database, and rows that do not fit the type.
    pub async fn all<T>(self, conn: &mut Conn) -> StoreResult<Vec<T>>
    where
        T: QueryableByName<Mysql> + Send + 'static,
    {
        Ok(self.load::<T>(conn).await?)
    }

    /// The first row, if any.
    ///
    /// # Errors
    /// As [`Sql::all`].
    pub async fn first_row<T>(self, conn: &mut Conn) -> StoreResult<Option<T>>
    where
        T: QueryableByName<Mysql> + Send + 'static,
    {
        Ok(self.all(conn).await?.into_iter().next())
    }

    /// The column `value` of every row.
    ///
    /// # Errors
    /// As [`Sql::all`].
    pub async fn values<T>(self, conn: &mut Conn) -> StoreResult<Vec<T>>
    where
        T: Column + Send + 'static,
    {
        Ok(self.all::<Value<T>>(conn).await?.into_iter().map(|row| row.0).collect())
    }

    /// The column `value` of the first row.
    ///
    /// # Errors
    /// As [`Sql::all`].
    pub async fn value<T>(self, conn: &mut Conn) -> StoreResult<Option<T>>
    where
        T: Column + Send + 'static,
    {
        Ok(self.values(conn).await?.into_iter().next())
    }
}

impl QueryFragment<Mysql> for Sql {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        if self.varies {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql(&self.text);
        for bind in &self.binds {
            match bind {
                Bind::Null => out.push_bind_param_value_only::<Nullable<Text>, _>(&None::<String>)?,
                Bind::Text(value) => out.push_bind_param_value_only::<Text, _>(value)?,
                Bind::Unsigned(value) => out.push_bind_param_value_only::<Unsigned<BigInt>, _>(value)?,
                Bind::Signed(value) => out.push_bind_param_value_only::<BigInt, _>(value)?,
                Bind::Double(value) => out.push_bind_param_value_only::<Double, _>(value)?,
                Bind::Bool(value) => out.push_bind_param_value_only::<Bool, _>(value)?,
                Bind::Uuid(value) => out.push_bind_param_value_only::<MariaUuid, _>(value)?,
                Bind::Time(value) => out.push_bind_param_value_only::<UtcDateTime, _>(value)?,
                Bind::Bytes(value) => out.push_bind_param_value_only::<Binary, _>(value)?,
            }
        }
        Ok(())
    }
}

impl QueryId for Sql {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sql {
    type SqlType = Untyped;
}

/// A Rust type that columns are read as.
pub trait Column: diesel::deserialize::FromSql<Self::Sql, Mysql> {
    /// The SQL type it is read from.
    type Sql;
}

macro_rules! columns {
    ($($rust:ty => $sql:ty;)*) => {$(
        impl Column for $rust {
            type Sql = $sql;
        }
        impl Column for Option<$rust> {
            type Sql = Nullable<$sql>;
        }
    )*};
}

columns! {
    String => Text;
    u64 => Unsigned<BigInt>;
    u32 => Unsigned<Integer>;
    u16 => Unsigned<SmallInt>;
    u8 => Unsigned<TinyInt>;
    i64 => BigInt;
    bool => Bool;
    f64 => Double;
    Vec<u8> => Binary;
    Uuid => MariaUuid;
    Ipv4Addr => Inet4;
    DateTime<Utc> => UtcDateTime;
}

macro_rules! ids {
    ($($id:ident),*) => {$(
        columns! { sf_model::$id => MariaUuid; }

        impl From<sf_model::$id> for Bind {
            fn from(id: sf_model::$id) -> Self {
                Self::Uuid(id.as_uuid())
            }
        }
    )*};
}

ids!(
    AllocationId,
    ArtifactId,
    BlobId,
    ClaimToken,
    ClusterId,
    IncarnationId,
    InstanceId,
    InterfaceId,
    KeyId,
    NetworkId,
    NodeId,
    OperationId,
    ReservationId,
    TransferId,
    UploadId
);

/// A row with the one column `value`.
struct Value<T>(T);

impl<T: Column> QueryableByName<Mysql> for Value<T> {
    fn build<'a>(row: &impl diesel::row::NamedRow<'a, Mysql>) -> diesel::deserialize::Result<Self> {
        Ok(Self(diesel::row::NamedRow::get::<T::Sql, T>(row, "value")?))
    }
}

/// Declares structs whose fields are read from the columns of the same name.
macro_rules! rows {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fmeta:meta])* $fvis:vis $field:ident: $ty:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $name { $($(#[$fmeta])* $fvis $field: $ty),* }

        impl diesel::deserialize::QueryableByName<diesel::mysql::Mysql> for $name {
            fn build<'a>(
                row: &impl diesel::row::NamedRow<'a, diesel::mysql::Mysql>,
            ) -> diesel::deserialize::Result<Self> {
                Ok(Self {
                    $($field: diesel::row::NamedRow::get::<<$ty as $crate::sql::Column>::Sql, $ty>(
                        row,
                        stringify!($field),
                    )?),*
                })
            }
        }
    )*};
}
pub(crate) use rows;

macro_rules! binds {
    ($($rust:ty, |$value:ident| $make:expr;)*) => {$(
        impl From<$rust> for Bind {
            fn from($value: $rust) -> Self {
                $make
            }
        }
    )*};
}

binds! {
    &str, |v| Self::Text(v.to_owned());
    &String, |v| Self::Text(v.clone());
    String, |v| Self::Text(v);
    u64, |v| Self::Unsigned(v);
    u32, |v| Self::Unsigned(u64::from(v));
    u16, |v| Self::Unsigned(u64::from(v));
    u8, |v| Self::Unsigned(u64::from(v));
    i64, |v| Self::Signed(v);
    f64, |v| Self::Double(v);
    bool, |v| Self::Bool(v);
    Uuid, |v| Self::Uuid(v);
    Ipv4Addr, |v| Self::Text(v.to_string());
    sf_model::MacAddress, |v| Self::Text(v.to_string());
    DateTime<Utc>, |v| Self::Time(v);
    Vec<u8>, |v| Self::Bytes(v);
    [u8; 32], |v| Self::Bytes(v.to_vec());
    std::time::Duration, |v| Self::Signed(i64::try_from(v.as_micros()).unwrap_or(i64::MAX));
    sf_model::ObjectType, |v| Self::Text(v.to_string());
    sf_model::operation::Priority, |v| Self::Unsigned(v as u64);
}

impl<T: Into<Bind>> From<Option<T>> for Bind {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
