//! Running the operations one after the other.

use std::sync::Arc;

use super::operations::{OPERATION_VERSION, Operation, operations};
use super::{BootstrapError, Done, Input, KeyOutput, Moment, Observer, Outcome, key_file};
use crate::compat::{self, Purpose};
use crate::conn::{Conn, ConnectOptions, Pool, connect, pool};
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::session::session;
use crate::sql::{rows, sql};
use crate::transaction::{Deadline, transaction};
use crate::{config, events, migrate};

rows! {
    struct Present {
        input_digest: Option<String>,
        artefact: String,
    }
}

/// Does what has not been done yet and says of every operation what became of it.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn bootstrap(
    options: &ConnectOptions,
    input: &Input,
    observe: &Observer,
) -> Result<Vec<Done>, BootstrapError> {
    compat::check(options, Purpose::Gateway { pool_size: 1 }).await?;
    migrate::check_window(&mut connect(options).await.map_err(migrate::SchemaError::from)?).await?;
    let pool = pool(options, 1);
    let mut done = Vec::new();
    for operation in operations(input) {
        let name = operation.name.clone();
        let outcome = match &input.admin_key.output {
            Some(output) if operation.is_key() => make_key(&pool, input, &operation, output, observe).await?,
            _ => make(&pool, input, &operation, observe).await.map_err(|source| failed(&name, source))?,
        };
        done.push(outcome);
    }
    Ok(done)
}

/// Says what [`bootstrap`] would do, and changes nothing. Without a schema nothing has been done.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn plan(options: &ConnectOptions, input: &Input) -> Result<Vec<Done>, BootstrapError> {
    compat::check(options, Purpose::Gateway { pool_size: 1 }).await?;
    let mut conn = connect(options).await.map_err(migrate::SchemaError::from)?;
    let schema = migrate::recorded_version(&mut conn).await.map_err(migrate::SchemaError::from)?;
    let pool = pool(options, 1);
    let mut planned = Vec::new();
    for operation in operations(input) {
        let expected = match schema {
            Some(_) => expect(&pool, &operation).await.map_err(|source| failed(&operation.name, source))?,
            None => operation.ended(Outcome::WouldCreate),
        };
        planned.push(expected);
    }
    Ok(planned)
}

/// What would become of an operation.
async fn expect(pool: &Pool, operation: &Operation) -> StoreResult<Done> {
    if let Some(before) = present(pool, &operation.name).await? {
        return Ok(before.done(operation));
    }
    let set = match operation.config_key() {
        Some(key) => is_set(pool, &key).await?,
        None => false,
    };
    Ok(operation.ended(if set { Outcome::AlreadyDoneDifferently } else { Outcome::WouldCreate }))
}

async fn is_set(pool: &Pool, key: &str) -> StoreResult<bool> {
    let asked = sql("SELECT key_name AS value FROM cluster_config WHERE key_name = ?").bind(key);
    let found: Option<String> =
        session(pool, Deadline::default(), |conn| Box::pin(asked.value(conn))).await?;
    Ok(found.is_some())
}

impl Operation {
    fn ended(&self, outcome: Outcome) -> Done {
        Done { operation: self.name.clone(), outcome, artefact: self.artefact.clone() }
    }
}

impl Present {
    fn done(self, operation: &Operation) -> Done {
        let same = self.input_digest.is_none() || self.input_digest == operation.digest;
        let outcome = if same { Outcome::AlreadyDone } else { Outcome::AlreadyDoneDifferently };
        Done { artefact: self.artefact, ..operation.ended(outcome) }
    }
}

/// A key whose secret has to reach the operator. No file is touched inside the transaction.
async fn make_key(
    pool: &Pool,
    input: &Input,
    operation: &Operation,
    output: &KeyOutput,
    observe: &Observer,
) -> Result<Done, BootstrapError> {
    let own = &operation.artefact;
    let name = &operation.name;
    if let Some(before) = present(pool, name).await.map_err(|source| failed(name, source))? {
        key_file::hand_over(&output.path, &before.artefact)?;
        let operation = name.clone();
        return Ok(Done { operation, outcome: Outcome::AlreadyDone, artefact: before.artefact });
    }
    key_file::draft(output, own)?;
    let done = make(pool, input, operation, observe).await;
    match &done {
        // Another run was faster; its draft becomes the file.
        Ok(done) if done.artefact != *own => key_file::discard(&output.path, own),
        Ok(_) => key_file::hand_over(&output.path, own)?,
        // The outcome of a lost commit is unknown: the draft stays, and the next run decides.
        Err(StoreError::Unreachable(_)) => {}
        Err(_) => key_file::discard(&output.path, own),
    }
    done.map_err(|source| failed(name, source))
}

async fn make(pool: &Pool, input: &Input, operation: &Operation, observe: &Observer) -> StoreResult<Done> {
    let mine = Arc::new(operation.clone());
    let fqdn: Arc<str> = input.fqdn.as_str().into();
    let made = transaction(pool, Deadline::default(), |conn| {
        let (mine, fqdn, observe) = (mine.clone(), fqdn.clone(), observe.clone());
        Box::pin(async move { attempt(conn, &mine, &fqdn, &observe).await })
    })
    .await;
    let outcome = match made {
        Ok(()) => {
            observe(&operation.name, Moment::Committed);
            Outcome::Created
        }
        Err(error) if error.is_duplicate() => {
            let before = present(pool, &operation.name).await?;
            return match before {
                Some(before) => Ok(before.done(operation)),
                // A key that an operator set has its value; whether it is the wanted one is for whoever applies keys.
                None if operation.config_key().is_some() => {
                    Ok(operation.ended(Outcome::AlreadyDoneDifferently))
                }
                // The artefact exists without a row: made by hand, or by a build that recorded it otherwise.
                None => Err(error),
            };
        }
        Err(error) => return Err(error),
    };
    Ok(operation.ended(outcome))
}

async fn attempt(conn: &mut Conn, operation: &Operation, fqdn: &str, observe: &Observer) -> StoreResult<()> {
    sql("INSERT INTO bootstrap_operations (operation, operation_version, input_digest, artefact, agent_version, fqdn, \
         completed_at) VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))")
    .bind(&operation.name)
    .bind(OPERATION_VERSION)
    .bind(operation.digest.as_ref())
    .bind(&operation.artefact)
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(fqdn)
    .run(conn)
    .await?;
    observe(&operation.name, Moment::Recorded);
    // As of this transaction: earlier operations may have set what this one reads.
    let settings = config::settings(conn, fqdn).await?;
    let ctx = TxContext::internal(Arc::new(settings), "sf-ctl");
    operation.write(conn, &ctx).await?;
    events::insert(conn, &ctx.take_events()).await?;
    observe(&operation.name, Moment::Written);
    Ok(())
}

async fn present(pool: &Pool, operation: &str) -> StoreResult<Option<Present>> {
    let asked =
        sql("SELECT input_digest, artefact FROM bootstrap_operations WHERE operation = ?").bind(operation);
    session(pool, Deadline::default(), |conn| Box::pin(asked.first_row(conn))).await
}

fn failed(operation: &str, source: StoreError) -> BootstrapError {
    BootstrapError::Store { operation: operation.to_owned(), source }
}
