//! The whole interface as one table: verb, path, who may call, what the key must be good for, what the body may be, and
//! the handler. The router is built from it, and the tests walk it.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use http::Method;
use sf_model::access::{Family, Scope, Verb};

use crate::api::Api;
use crate::call::{Call, Visitor};
use crate::controllers::objects::{
    Artifacts, Blobs, Instances, Interfaces, Namespaces, Networks, Nodes, delete_metadata, events,
    get_metadata, operations as object_operations, set_metadata,
};
use crate::controllers::{
    admin, artifacts, auth, blobs, instances, interfaces, keys, namespaces, networks, nodes, operations,
    service, uploads,
};
use crate::edge;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::reply::ApiResult;

/// Who may call a route, beyond having a valid token (`rest-api.md` §1.5). All but the first three are decided where the
/// object is looked up, in one read with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any caller.
    Authenticated,
    /// The namespace in the path itself, or an administrator.
    NamespaceAdmin,
    /// Administrators.
    System,
    /// The owner of the object, or an administrator.
    Owner,
    /// Whoever may read the artifact.
    Readable,
    /// Whoever may read the blob.
    BlobReader,
    /// Whoever has sight of the namespace.
    NamespaceSight,
}

/// What the body of a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// One JSON object.
    Json,
    /// One JSON object with a log-in.
    Login,
    /// One JSON object that may hold a credential.
    Credential,
    /// One JSON object; the `Range` header counts.
    Ranged,
    /// Raw bytes.
    Raw,
}

/// How long an answer may take to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The configured time.
    Answer,
    /// As long as bytes move.
    Transfer,
}

type Running = Pin<Box<dyn Future<Output = ApiResult> + Send>>;

/// The handler of a route and its gate.
#[derive(Clone, Copy)]
pub enum Entry {
    /// Public, and answered from memory.
    Probe(fn(&Api) -> Response),
    /// Public.
    Open(fn(Visitor, Input) -> Running),
    /// For callers with a token.
    Guarded {
        /// Who of them.
        access: Access,
        /// What their key must be good for.
        scope: Scope,
        /// The handler.
        handler: fn(Call, Input) -> Running,
    },
}

/// One verb of one path.
pub struct Route {
    /// The verb.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// What the body may be.
    pub body: BodyRule,
    /// How long an answer may take.
    pub patience: Patience,
    /// Gate and handler.
    pub entry: Entry,
}

/// The route of a verb and a path pattern.
pub fn find(method: &Method, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.method == *method && route.path == path)
}

/// Reads the typed request, then lets the handler go: everything that can be refused without looking something up is
/// refused before anything is looked up.
async fn run<R, F>(
    call: Call,
    mut input: Input,
    access: Access,
    handle: impl FnOnce(Call, R) -> F,
) -> ApiResult
where
    R: Request,
    F: Future<Output = ApiResult>,
{
    let request = R::read(&mut input)?;
    input.finish()?;
    match access {
        Access::System => edge::administrator(&call.caller)?,
        Access::NamespaceAdmin => {
            let namespace = input.path("namespace", crate::params::string)?;
            if !call.caller.owns(&namespace) {
                return Err(ApiError::not_found("namespace"));
            }
        }
        _ => {}
    }
    handle(call, request).await
}

async fn run_open<R, F>(visitor: Visitor, mut input: Input, handle: impl FnOnce(Visitor, R) -> F) -> ApiResult
where
    R: Request,
    F: Future<Output = ApiResult>,
{
    let request = R::read(&mut input)?;
    input.finish()?;
    handle(visitor, request).await
}

/// The verb of a scope that belongs to a verb of HTTP.
const fn verb(method: &Method) -> Verb {
    match *method {
        Method::GET => Verb::Read,
        Method::DELETE => Verb::Delete,
        _ => Verb::Write,
    }
}

const fn scope(family: Family, method: &Method, special: Option<Verb>) -> Scope {
    Scope::One(
        family,
        match special {
            Some(verb) => verb,
            None => verb(method),
        },
    )
}

macro_rules! probe {
    ($path:literal, $handler:path) => {
        Route {
            method: Method::GET,
            path: $path,
            body: BodyRule::Json,
            patience: Patience::Answer,
            entry: Entry::Probe($handler),
        }
    };
}

macro_rules! open {
    ($method:ident $path:literal, $body:ident, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            body: BodyRule::$body,
            patience: Patience::Answer,
            entry: Entry::Open(|visitor, input| Box::pin(run_open(visitor, input, $handler))),
        }
    };
}

macro_rules! route {
    ($method:ident $path:literal, $access:ident, $family:ident, $handler:expr) => {
        route!($method $path, $access, $family, None, Json, Answer, $handler)
    };
    ($method:ident $path:literal, $access:ident, $family:ident, $body:ident, $handler:expr) => {
        route!($method $path, $access, $family, None, $body, Answer, $handler)
    };
    ($method:ident $path:literal, $access:ident, $family:ident, $special:expr, $body:ident, $patience:ident, $handler:expr) => {
        Route {
            method: Method::$method,
            path: $path,
            body: BodyRule::$body,
            patience: Patience::$patience,
            entry: Entry::Guarded {
                access: Access::$access,
                scope: scope(Family::$family, &Method::$method, $special),
                handler: |call, input| Box::pin(run(call, input, Access::$access, $handler)),
            },
        }
    };
}

/// Every route of the interface, by resource.
pub static ROUTES: &[Route] = &[
    // Service.
    probe!("/", service::root),
    probe!("/livez", service::live),
    probe!("/readyz", service::ready),
    probe!("/healthz", service::ready),
    open!(POST "/auth", Login, auth::login::handle),
    // Administration.
    route!(GET "/admin/locks", System, Admin, admin::locks::handle),
    route!(GET "/admin/resources", System, Admin, admin::resources::handle),
    route!(GET "/admin/cacert", Authenticated, Admin, admin::cacert::handle),
    // Namespaces, keys, trusts.
    route!(GET "/auth/namespaces", Authenticated, Auth, Credential, namespaces::list::handle),
    route!(POST "/auth/namespaces", System, Auth, Credential, namespaces::create::handle),
    route!(GET "/auth/namespaces/{namespace}", NamespaceSight, Auth, Credential, namespaces::get::handle),
    route!(DELETE "/auth/namespaces/{namespace}", System, Auth, Credential, namespaces::delete::handle),
    route!(GET "/auth/namespaces/{namespace}/keys", NamespaceAdmin, Auth, Credential, keys::list::handle),
    route!(POST "/auth/namespaces/{namespace}/keys", NamespaceAdmin, Auth, Credential, keys::create::handle),
    route!(PUT "/auth/namespaces/{namespace}/keys", NamespaceAdmin, Auth, Credential, keys::rotate::in_body),
    route!(PUT "/auth/namespaces/{namespace}/keys/{key_name}", NamespaceAdmin, Auth, Credential, keys::rotate::in_path),
    route!(DELETE "/auth/namespaces/{namespace}/keys/{key_name}", NamespaceAdmin, Auth, Credential, keys::delete::handle),
    route!(POST "/auth/namespaces/{namespace}/trust", NamespaceAdmin, Auth, Credential, namespaces::trust::add),
    route!(DELETE "/auth/namespaces/{namespace}/trust/{external_namespace}", NamespaceAdmin, Auth, Credential, namespaces::trust::remove),
    route!(GET "/auth/namespaces/{namespace}/events", NamespaceAdmin, Auth, events::handle::<Namespaces>),
    route!(GET "/auth/namespaces/{namespace}/metadata", NamespaceSight, Auth, get_metadata::handle::<Namespaces>),
    route!(POST "/auth/namespaces/{namespace}/metadata", NamespaceAdmin, Auth, set_metadata::post::<Namespaces>),
    route!(PUT "/auth/namespaces/{namespace}/metadata/{key}", NamespaceAdmin, Auth, set_metadata::put::<Namespaces>),
    route!(DELETE "/auth/namespaces/{namespace}/metadata/{key}", NamespaceAdmin, Auth, delete_metadata::handle::<Namespaces>),
    // Instances.
    route!(GET "/instances", Authenticated, Instance, instances::list::handle),
    route!(POST "/instances", Authenticated, Instance, instances::create::handle),
    route!(DELETE "/instances", Authenticated, Instance, instances::delete_all::handle),
    route!(GET "/instances/{instance_ref}", Owner, Instance, instances::get::handle),
    route!(DELETE "/instances/{instance_ref}", Owner, Instance, instances::delete::handle),
    route!(GET "/instances/{instance_ref}/interfaces", Owner, Instance, instances::interfaces::handle),
    route!(POST "/instances/{instance_ref}/rebootsoft", Owner, Instance, instances::power::reboot_soft),
    route!(POST "/instances/{instance_ref}/reboothard", Owner, Instance, instances::power::reboot_hard),
    route!(POST "/instances/{instance_ref}/poweroff", Owner, Instance, instances::power::power_off),
    route!(POST "/instances/{instance_ref}/poweron", Owner, Instance, instances::power::power_on),
    route!(POST "/instances/{instance_ref}/pause", Owner, Instance, instances::power::pause),
    route!(POST "/instances/{instance_ref}/unpause", Owner, Instance, instances::power::unpause),
    route!(GET "/instances/{instance_ref}/consoledata", Owner, Instance, Some(Verb::Console), Json, Answer, instances::console::read),
    route!(DELETE "/instances/{instance_ref}/consoledata", Owner, Instance, Some(Verb::Console), Json, Answer, instances::console::clear),
    route!(GET "/instances/{instance_ref}/vdiconsolehelper", Owner, Instance, Some(Verb::Console), Json, Answer, instances::vdi_helper::handle),
    route!(GET "/instances/{instance_ref}/clusteroperations", Owner, Instance, object_operations::handle::<Instances>),
    route!(GET "/instances/{instance_ref}/events", Owner, Instance, events::handle::<Instances>),
    route!(GET "/instances/{instance_ref}/metadata", Owner, Instance, get_metadata::handle::<Instances>),
    route!(POST "/instances/{instance_ref}/metadata", Owner, Instance, set_metadata::post::<Instances>),
    route!(PUT "/instances/{instance_ref}/metadata/{key}", Owner, Instance, set_metadata::put::<Instances>),
    route!(DELETE "/instances/{instance_ref}/metadata/{key}", Owner, Instance, delete_metadata::handle::<Instances>),
    // Networks.
    route!(GET "/networks", Authenticated, Network, networks::list::handle),
    route!(POST "/networks", Authenticated, Network, networks::create::handle),
    route!(DELETE "/networks", Authenticated, Network, networks::delete_all::handle),
    route!(GET "/networks/{network_ref}", Owner, Network, networks::get::handle),
    route!(DELETE "/networks/{network_ref}", Owner, Network, networks::delete::handle),
    route!(GET "/networks/{network_ref}/interfaces", Owner, Network, networks::interfaces::handle),
    route!(GET "/networks/{network_ref}/addresses", Owner, Network, networks::addresses::handle),
    route!(GET "/networks/{network_ref}/ping/{address}", Owner, Network, networks::ping::handle),
    route!(GET "/networks/{network_ref}/clusteroperations", Owner, Network, object_operations::handle::<Networks>),
    route!(GET "/networks/{network_ref}/events", Owner, Network, events::handle::<Networks>),
    route!(GET "/networks/{network_ref}/metadata", Owner, Network, get_metadata::handle::<Networks>),
    route!(POST "/networks/{network_ref}/metadata", Owner, Network, set_metadata::post::<Networks>),
    route!(PUT "/networks/{network_ref}/metadata/{key}", Owner, Network, set_metadata::put::<Networks>),
    route!(DELETE "/networks/{network_ref}/metadata/{key}", Owner, Network, delete_metadata::handle::<Networks>),
    // Interfaces.
    route!(GET "/interfaces/{interface_uuid}", Owner, Interface, interfaces::get::handle),
    route!(GET "/interfaces/{interface_uuid}/metadata", Owner, Interface, get_metadata::handle::<Interfaces>),
    route!(POST "/interfaces/{interface_uuid}/metadata", Owner, Interface, set_metadata::post::<Interfaces>),
    route!(PUT "/interfaces/{interface_uuid}/metadata/{key}", Owner, Interface, set_metadata::put::<Interfaces>),
    route!(DELETE "/interfaces/{interface_uuid}/metadata/{key}", Owner, Interface, delete_metadata::handle::<Interfaces>),
    // Artifacts.
    route!(GET "/artifacts", Authenticated, Artifact, artifacts::list::handle),
    route!(POST "/artifacts", Authenticated, Artifact, artifacts::cache::handle),
    route!(DELETE "/artifacts", Authenticated, Artifact, artifacts::delete_all::handle),
    route!(POST "/artifacts/upload/{artifact_name}", Authenticated, Artifact, None, Json, Transfer, artifacts::upload::handle),
    route!(GET "/artifacts/{artifact_ref}", Readable, Artifact, artifacts::get::handle),
    route!(DELETE "/artifacts/{artifact_ref}", Owner, Artifact, artifacts::delete::handle),
    route!(GET "/artifacts/{artifact_ref}/versions", Readable, Artifact, artifacts::versions::handle),
    route!(POST "/artifacts/{artifact_ref}/versions", Owner, Artifact, artifacts::set_max_versions::handle),
    route!(DELETE "/artifacts/{artifact_ref}/versions/{index}", Owner, Artifact, artifacts::delete_version::handle),
    route!(POST "/artifacts/{artifact_ref}/share", Owner, Artifact, artifacts::share::share),
    route!(POST "/artifacts/{artifact_ref}/unshare", Owner, Artifact, artifacts::share::unshare),
    route!(GET "/artifacts/{artifact_ref}/clusteroperations", Readable, Artifact, object_operations::handle::<Artifacts>),
    route!(GET "/artifacts/{artifact_ref}/events", Readable, Artifact, events::handle::<Artifacts>),
    route!(GET "/artifacts/{artifact_ref}/metadata", Readable, Artifact, get_metadata::handle::<Artifacts>),
    route!(POST "/artifacts/{artifact_ref}/metadata", Owner, Artifact, set_metadata::post::<Artifacts>),
    route!(PUT "/artifacts/{artifact_ref}/metadata/{key}", Owner, Artifact, set_metadata::put::<Artifacts>),
    route!(DELETE "/artifacts/{artifact_ref}/metadata/{key}", Owner, Artifact, delete_metadata::handle::<Artifacts>),
    // Blobs.
    route!(GET "/blobs", System, Blob, blobs::list::handle),
    route!(GET "/blobs/{blob_uuid}", BlobReader, Blob, blobs::get::handle),
    route!(GET "/blobs/{blob_uuid}/data", BlobReader, Blob, None, Ranged, Transfer, blobs::data::handle),
    route!(GET "/blobs/{blob_uuid}/checksum/{algorithm}", BlobReader, Blob, blobs::checksum::handle),
    route!(GET "/blob_checksums/{algorithm}/{hash}", Authenticated, Blob, blobs::find::handle),
    route!(GET "/blobs/{blob_uuid}/events", BlobReader, Blob, events::handle::<Blobs>),
    route!(GET "/blobs/{blob_uuid}/metadata", BlobReader, Blob, get_metadata::handle::<Blobs>),
    route!(POST "/blobs/{blob_uuid}/metadata", Owner, Blob, set_metadata::post::<Blobs>),
    route!(PUT "/blobs/{blob_uuid}/metadata/{key}", Owner, Blob, set_metadata::put::<Blobs>),
    route!(DELETE "/blobs/{blob_uuid}/metadata/{key}", Owner, Blob, delete_metadata::handle::<Blobs>),
    // Uploads.
    route!(POST "/upload", Authenticated, Upload, uploads::create::handle),
    route!(POST "/upload/{upload_uuid}", Owner, Upload, None, Raw, Transfer, uploads::append::handle),
    route!(POST "/upload/{upload_uuid}/truncate/{offset}", Owner, Upload, uploads::truncate::handle),
    // Nodes.
    route!(GET "/nodes", System, Node, nodes::list::handle),
    route!(GET "/nodes/{node}", System, Node, nodes::get::handle),
    route!(DELETE "/nodes/{node}", System, Node, nodes::delete::handle),
    route!(POST "/nodes/{node}/cordon", System, Node, nodes::schedulable::cordon),
    route!(POST "/nodes/{node}/uncordon", System, Node, nodes::schedulable::uncordon),
    route!(GET "/nodes/{node}/processmetrics", System, Node, nodes::process_metrics::handle),
    route!(GET "/nodes/{node}/events", System, Node, events::handle::<Nodes>),
    route!(GET "/nodes/{node}/metadata", System, Node, get_metadata::handle::<Nodes>),
    route!(POST "/nodes/{node}/metadata", System, Node, set_metadata::post::<Nodes>),
    route!(PUT "/nodes/{node}/metadata/{key}", System, Node, set_metadata::put::<Nodes>),
    route!(DELETE "/nodes/{node}/metadata/{key}", System, Node, delete_metadata::handle::<Nodes>),
    // Operations.
    route!(GET "/clusteroperations", Owner, ClusterOperation, operations::list::handle),
    route!(GET "/clusteroperations/{op_uuid}/chain", Owner, ClusterOperation, operations::chain::handle),
    route!(GET "/clusteroperations/{op_type}/{op_uuid}", Owner, ClusterOperation, operations::get::handle),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_routes_are_exactly_these() {
        let public: Vec<&str> = ROUTES
            .iter()
            .filter(|route| !matches!(route.entry, Entry::Guarded { .. }))
            .map(|r| r.path)
            .collect();
        assert_eq!(public, ["/", "/livez", "/readyz", "/healthz", "/auth"]);
    }

    #[test]
    fn every_route_is_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for route in ROUTES {
            assert!(
                seen.insert((route.method.as_str(), route.path)),
                "{} {} twice",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn access_scope_and_body_of_every_route_are_the_contract() {
        let lines: Vec<String> = ROUTES
            .iter()
            .map(|route| {
                let gate = match route.entry {
                    Entry::Guarded { access, scope, .. } => format!("{access:?} {scope}"),
                    _ => "public".to_owned(),
                };
                format!("{} {}: {gate} {:?} {:?}", route.method, route.path, route.body, route.patience)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn namespace_administration_names_its_parameter() {
        for route in ROUTES {
            if let Entry::Guarded { access: Access::NamespaceAdmin, .. } = route.entry {
                assert!(route.path.contains("{namespace}"), "{}", route.path);
            }
        }
    }
}
