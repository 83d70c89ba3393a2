//! The axum router, made from the table and from nothing else.

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, on};
use http::Method;

use crate::api::Api;
use crate::edge;
use crate::routes::{ROUTES, Route};

/// The whole service: every route behind everything that happens to all requests.
pub fn service(api: &Api) -> Router {
    let routes = ROUTES.iter().fold(Router::new(), add);
    edge::shell(api, routes.fallback(edge::unknown_route).with_state(api.clone()))
}

fn add(router: Router<Api>, route: &'static Route) -> Router<Api> {
    let serve = move |State(api): State<Api>,
                      parameters: Result<RawPathParams, RawPathParamsRejection>,
                      request: Request| {
        edge::serve(route, api, edge::decode(parameters.as_ref().ok()), request)
    };
    router.route(route.path, on(filter(&route.method), serve))
}

/// The verbs of the table. GET answers HEAD too.
fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}
