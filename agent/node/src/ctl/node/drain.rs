//! `node drain`: waits until a node holds nothing that the cluster needs.

use std::time::{Duration, Instant};

use clap::Args;
use sf_config::NodeConfig;
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::access::SYSTEM_NAMESPACE;
use sf_protos::common::{Caller, Selector};
use sf_protos::instances::DeleteInstanceRequest;
use sf_protos::nodes as pb;

use super::{get, reference, remaining};
use crate::answer::Answer;
use crate::failure::{Exit, Failure};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct DrainOptions {
    /// Name or UUID; this node when left out.
    node: Option<String>,
    /// Seconds to wait until nothing is left.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    /// Delete the instances of the node.
    #[arg(long)]
    delete_instances: bool,
    /// Say what is left and change nothing.
    #[arg(long)]
    check: bool,
}

pub(super) async fn execute(
    gateway: &Gateway,
    config: &NodeConfig,
    options: DrainOptions,
) -> Result<Answer, Failure> {
    let before = get(gateway, reference(config, options.node)?).await?;
    let node = before.uuid.clone();
    let mut changed = before.schedulable || !before.draining;
    let mut remains = left(gateway, &node).await?;
    if options.check {
        let deletes = options.delete_instances && remains.instance_count > 0;
        return Ok(answer(&remains, changed || deletes));
    }
    let cordon = pb::SetNodeSchedulableRequest {
        context: None,
        reference: node.clone(),
        schedulable: false,
        draining: Some(true),
    };
    gateway.call(CallClass::Background, cordon).await?;
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    loop {
        if options.delete_instances && remains.instance_count > 0 {
            changed = true;
            delete(gateway, &remains.instances).await?;
        }
        remains = left(gateway, &node).await?;
        if is_empty(&remains) {
            return Ok(answer(&remains, changed));
        }
        if Instant::now() + PAUSE >= deadline {
            let answer = answer(&remains, changed);
            let why = format!("the node is cordoned and not empty: {}", answer.text);
            return Err(Failure::say(Exit::Unhealthy, why).showing(answer));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn left(gateway: &Gateway, node: &str) -> Result<pb::GetNodeRemainsReply, Failure> {
    let request = pb::GetNodeRemainsRequest { reference: node.to_owned() };
    Ok(gateway.call(CallClass::Background, request).await?)
}

/// Asks for the end of instances; one that is being deleted already is asked again, which changes nothing.
async fn delete(gateway: &Gateway, instances: &[pb::RemainingInstance]) -> Result<(), Failure> {
    for instance in instances {
        let request = DeleteInstanceRequest {
            context: None,
            caller: Some(Caller { namespace: SYSTEM_NAMESPACE.to_owned() }),
            selector: Some(Selector { reference: instance.uuid.clone(), namespace: None }),
        };
        match gateway.call(CallClass::Background, request).await {
            Ok(_) | Err(DbError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_empty(remains: &pb::GetNodeRemainsReply) -> bool {
    remains.instance_count == 0 && remains.blobs_under_replicated == 0
}

fn answer(remains: &pb::GetNodeRemainsReply, changed: bool) -> Answer {
    let text = if is_empty(remains) {
        "nothing is left on the node".to_owned()
    } else {
        format!(
            "{} instances, {} blobs with too few copies elsewhere",
            remains.instance_count, remains.blobs_under_replicated
        )
    };
    Answer::new(remaining(remains), text).changed(changed)
}
