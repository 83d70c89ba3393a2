//! How MariaDB's own types travel: `UUID` and `INET4` as text, `DATETIME(6)` as UTC.
//!
//! The Rust side parses before it believes, so a malformed value never reaches a query or a caller.

use std::io::Write;
use std::net::Ipv4Addr;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::deserialize::{self, FromSql};
use diesel::mysql::{Mysql, MysqlValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Datetime, SqlType};
use uuid::Uuid;

/// MariaDB's native `UUID`, for [`Uuid`] and every identifier of `sf_model`.
#[derive(Debug, Clone, Copy, Default, QueryId, SqlType)]
#[diesel(mysql_type(name = "String"))]
pub struct MariaUuid;

/// MariaDB's native `INET4`, for [`Ipv4Addr`].
#[derive(Debug, Clone, Copy, Default, QueryId, SqlType)]
#[diesel(mysql_type(name = "String"))]
pub struct Inet4;

/// `DATETIME(6)` holding UTC, for [`DateTime<Utc>`].
#[derive(Debug, Clone, Copy, Default, QueryId, SqlType)]
#[diesel(mysql_type(name = "DateTime"))]
pub struct UtcDateTime;

macro_rules! uuid_types {
    ($($id:ident),* $(,)?) => {
        $(
            impl ToSql<MariaUuid, Mysql> for sf_model::$id {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
                    write_uuid(self.as_uuid(), out)
                }
            }

            impl FromSql<MariaUuid, Mysql> for sf_model::$id {
                fn from_sql(value: MysqlValue<'_>) -> deserialize::Result<Self> {
                    Ok(Self::from_uuid(read_uuid(&value)?))
                }
            }
        )*
    };
}

uuid_types!(
    AllocationId,
    ArtifactId,
    BatchId,
    BlobId,
    ClaimToken,
    ClusterId,
    EventId,
    IncarnationId,
    InstanceId,
    InterfaceId,
    KeyId,
    MutationId,
    NetworkId,
    NodeId,
    OperationId,
    ReservationId,
    TransferId,
    UploadId,
);

impl ToSql<MariaUuid, Mysql> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        write_uuid(*self, out)
    }
}

impl FromSql<MariaUuid, Mysql> for Uuid {
    fn from_sql(value: MysqlValue<'_>) -> deserialize::Result<Self> {
        read_uuid(&value)
    }
}

impl ToSql<Inet4, Mysql> for Ipv4Addr {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        write!(out, "{self}")?;
        Ok(IsNull::No)
    }
}

impl FromSql<Inet4, Mysql> for Ipv4Addr {
    fn from_sql(value: MysqlValue<'_>) -> deserialize::Result<Self> {
        Ok(text(&value)?.parse()?)
    }
}

impl ToSql<UtcDateTime, Mysql> for DateTime<Utc> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        ToSql::<Datetime, Mysql>::to_sql(&self.naive_utc(), &mut out.reborrow())
    }
}

impl FromSql<UtcDateTime, Mysql> for DateTime<Utc> {
    fn from_sql(value: MysqlValue<'_>) -> deserialize::Result<Self> {
        let naive: NaiveDateTime = FromSql::<Datetime, Mysql>::from_sql(value)?;
        Ok(naive.and_utc())
    }
}

fn write_uuid(uuid: Uuid, out: &mut Output<'_, '_, Mysql>) -> serialize::Result {
    let mut buffer = Uuid::encode_buffer();
    out.write_all(uuid.as_hyphenated().encode_lower(&mut buffer).as_bytes())?;
    Ok(IsNull::No)
}

fn read_uuid(value: &MysqlValue<'_>) -> deserialize::Result<Uuid> {
    Ok(Uuid::try_parse(text(value)?)?)
}

fn text<'a>(value: &'a MysqlValue<'_>) -> Result<&'a str, std::str::Utf8Error> {
    std::str::from_utf8(value.as_bytes())
}
