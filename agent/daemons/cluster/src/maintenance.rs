//! Runs what is due, two tasks at a time, as `maintenance_runs` in the database says.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sf_daemon::DaemonContext;
use sf_gateway::{CallClass, DbError};
use sf_protos::maintenance::{ClaimTaskRequest, FinishTaskRequest};

use crate::election::Progress;
use crate::gauges;
use crate::lease::Lease;
use crate::readings::Board;
use crate::tasks::{Outcome, SHOWN_BY_LEADER, TASKS, Task, TaskContext};

/// Tasks running at once.
const WORKERS: usize = 2;
/// A task yields after this long and continues with its next turn.
const SLICE: Duration = Duration::from_secs(10);
/// Longest pause between looks at the list.
const MOST_IDLE: Duration = Duration::from_secs(10);
/// Shortest pause after a failure to look.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Works until the lease is lost or shutdown is asked for.
pub(crate) async fn run(context: DaemonContext, lease: Lease, board: Board, progress: Progress) {
    let task = TaskContext { daemon: context, lease, board };
    let workers = (0..WORKERS).map(|_| worker(&task, &progress));
    futures::join!(look_first(&task), futures::future::join_all(workers));
}

/// What the leader before showed went with its leadership, and its next turn may be a day away.
async fn look_first(leader: &TaskContext) {
    for task in TASKS.iter().filter(|task| SHOWN_BY_LEADER.contains(&task.name)) {
        tokio::select! {
            looked = (task.run)(leader.clone()) => {
                if let Err(error) = looked {
                    tracing::warn!(task = task.name, %error, "nothing is shown before its next turn");
                }
            }
            () = leader.lease.lost() => return,
            () = leader.daemon.shutdown.requested() => return,
        }
    }
}

async fn worker(leader: &TaskContext, progress: &Progress) {
    let TaskContext { daemon: context, lease, .. } = leader;
    while !lease.is_lost() && !context.shutdown.is_requested() {
        progress.mark();
        let pause = match claim(context, lease).await {
            Ok((Some(task), _)) => {
                perform(leader, progress, task).await;
                continue;
            }
            Ok((None, next_due)) => next_due.clamp(Duration::from_millis(100), MOST_IDLE),
            Err(error) => {
                note_loss(lease, &error);
                tracing::info!(%error, "cannot look for maintenance that is due");
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lease.lost() => {}
            () = context.shutdown.requested() => {}
        }
    }
}

async fn claim(context: &DaemonContext, lease: &Lease) -> Result<(Option<&'static Task>, Duration), DbError> {
    let known: HashMap<String, u32> =
        TASKS.iter().map(|task| (task.name.to_owned(), task.period_seconds)).collect();
    let request = ClaimTaskRequest { context: Some(lease.sign(context.gateway.mutation())), known };
    let reply = context.gateway.call(CallClass::Background, request).await?;
    let task = reply.task.and_then(|name| TASKS.iter().find(|task| task.name == name));
    Ok((task, Duration::from_millis(reply.next_due_ms.into())))
}

/// Runs one task for at most a slice and writes down how it went. A failure stops neither this worker nor other tasks.
async fn perform(leader: &TaskContext, progress: &Progress, task: &'static Task) {
    let TaskContext { daemon: context, lease, .. } = leader;
    let began = Instant::now();
    let mut again = false;
    let mut error = None;
    loop {
        progress.mark();
        let outcome = (task.run)(leader.clone()).await;
        match outcome {
            Ok(Outcome::More) if began.elapsed() < SLICE && !lease.is_lost() => {}
            Ok(Outcome::More) => {
                again = true;
                break;
            }
            Ok(Outcome::Done) => break,
            Err(problem) => {
                note_loss(lease, &problem);
                tracing::warn!(task = task.name, error = %problem, "maintenance failed, will be tried again");
                error = Some(problem.to_string());
                break;
            }
        }
    }
    gauges::task_ended(task.name, began.elapsed().as_secs_f64(), error.is_none());
    let request = FinishTaskRequest {
        context: Some(lease.sign(context.gateway.mutation())),
        task: task.name.to_owned(),
        duration_ms: u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX),
        error,
        again,
    };
    if let Err(problem) = context.gateway.call(CallClass::Background, request).await {
        note_loss(lease, &problem);
        tracing::info!(task = task.name, error = %problem, "the end of a task was not written down");
    }
}

/// A refusal by fence is the end of leadership, whatever the lease's own clock says.
fn note_loss(lease: &Lease, error: &DbError) {
    if error.reason() == Some("lock-lost") {
        lease.give_up();
    }
}
