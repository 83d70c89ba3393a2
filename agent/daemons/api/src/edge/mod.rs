//! What happens to every request whatever its route, one file per rule, in the order of `rest-api.md` §1.8.
//!
//! [`shell`] wraps the router: path, request id, log, panics, common headers. [`serve`] is the way of one request through
//! the rules of its route to its handler.

mod access_log;
mod audit;
mod auth;
mod body;
mod headers;
mod inflight;
mod legacy;
mod panics;
mod path;
mod rate;
mod request_id;
mod scope;
mod source;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::Method;
use http::request::Parts;
use sf_runtime::context;

pub use headers::unknown_route;
pub use path::{Parameters, decode};
pub(crate) use rate::limited;
pub(crate) use scope::administrator;
pub use source::Peer;

use crate::api::Api;
use crate::call::{Call, Trail, Visitor};
use crate::error::ApiError;
use crate::reply::ApiResult;
use crate::routes::{Entry, Patience, Route};

/// Wraps the router in what does not depend on the route. The last layer is the outermost.
pub fn shell(api: &Api, routes: Router) -> Router {
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(api.clone(), path::normalise))
        .layer(from_fn(panics::catch))
        .layer(from_fn(access_log::write))
        .layer(from_fn_with_state(api.clone(), headers::add))
        .layer(from_fn(request_id::carry))
}

/// One request through the rules of its route.
pub async fn serve(route: &'static Route, api: Api, parameters: Parameters, request: Request) -> Response {
    if let Entry::Probe(answer) = route.entry {
        let mut response = answer(&api);
        access_log::note(&mut response, route);
        return response;
    }
    let profile = legacy::profile(&api, request.headers());
    let mut response = match admitted(route, api, parameters, request).await {
        Ok(reply) => legacy::adapt(profile, route, reply).into_response(),
        Err(error) => error.into_response(),
    };
    access_log::note(&mut response, route);
    response
}

async fn admitted(route: &'static Route, api: Api, parameters: Parameters, request: Request) -> ApiResult {
    let place = inflight::enter(&api)?;
    let (parts, body) = request.into_parts();
    let source = source::of(&parts, &api.daemon.cluster.current().api_trusted_proxies);
    match route.entry {
        Entry::Probe(_) => Err(ApiError::internal()),
        Entry::Open(handler) => {
            let checks = async {
                rate::visitor(&api, source)?;
                body::check_length(route, &api, &parts.headers)
            };
            let ((), body) = before_body(checks, &parts, body).await?;
            let input = body::input(route, &api, parameters, &parts, body).await?;
            in_time(route, &api, handler(Visitor { api: api.clone(), source }, input)).await
        }
        Entry::Guarded { scope: required, handler, .. } => {
            let checks = async {
                let caller = auth::authenticate(&api, &parts.headers, route, source).await?;
                rate::caller(&api, &caller)?;
                scope::check(&caller, required)
                    .inspect_err(|_| scope::refused(&api, &caller, source, "scope"))?;
                body::check_length(route, &api, &parts.headers)?;
                Ok(caller)
            };
            let (caller, body) = before_body(checks, &parts, body).await?;
            let input = body::input(route, &api, parameters, &parts, body).await?;
            let request =
                context::current().with_caller(caller.namespace.clone(), Some(caller.key_name.clone()));
            let call = Call { api: api.clone(), caller, source, trail: Trail::default() };
            let work = context::scope(request, async move {
                let outcome = handler(call.clone(), input).await;
                let status = outcome.as_ref().map_or_else(ApiError::status, |reply| reply.status);
                audit::record(&call, route, status).await;
                drop(place);
                outcome
            });
            match route.method {
                Method::GET => in_time(route, &api, work).await,
                _ => in_time(route, &api, to_the_end(work)).await,
            }
        }
    }
}

/// What is checked before the body is looked at, and the body if it will be.
async fn before_body<T>(
    checks: impl Future<Output = Result<T, ApiError>>,
    parts: &Parts,
    body: Body,
) -> Result<(T, Body), ApiError> {
    match checks.await {
        Ok(passed) => Ok((passed, body)),
        Err(refused) => {
            body::discard(&parts.headers, body).await;
            Err(refused)
        }
    }
}

/// Work that goes on when nobody waits for its answer any more: a change that was made is also recorded, whether or not
/// the client stayed.
async fn to_the_end(work: impl Future<Output = ApiResult> + Send + 'static) -> ApiResult {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => Err(ApiError::internal()),
    }
}

/// An answer has to begin in time; transfers take as long as they take.
async fn in_time(route: &Route, api: &Api, work: impl Future<Output = ApiResult>) -> ApiResult {
    match route.patience {
        Patience::Transfer => work.await,
        Patience::Answer => {
            let limit = api.daemon.cluster.current().api_timeout;
            let late = || ApiError::unavailable("the request took too long, please retry", 1);
            tokio::time::timeout(limit, work).await.map_err(|_| late())?
        }
    }
}
