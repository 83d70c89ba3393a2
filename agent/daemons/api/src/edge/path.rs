//! One spelling of every path: repeated slashes collapse, one trailing slash goes, the advertised prefix is optional.

use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};

use crate::api::Api;
use crate::error::ApiError;

/// Longest request target, bytes.
const MAX_URI: usize = 8 * 1024;

/// The path parameters of a matched route, decoded once.
pub type Parameters = Result<Vec<(String, String)>, ApiError>;

/// Rewrites the path before the router sees it.
pub(super) async fn normalise(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let base = api.daemon.cluster.current().api_advertised_base_path.clone();
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > MAX_URI) {
        return ApiError::new(StatusCode::URI_TOO_LONG, "the path is too long").into_response();
    }
    let path = canonical(request.uri().path(), &base);
    if path != request.uri().path() {
        let target = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        match target.parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return ApiError::malformed("the path cannot be read").into_response(),
        }
    }
    next.run(request).await
}

/// Decodes the parameters the router found.
///
/// # Errors
/// 400 for what is not UTF-8 or holds a slash or NUL.
pub fn decode(found: Option<&RawPathParams>) -> Parameters {
    let refused = || ApiError::malformed("the path is not valid UTF-8, or contains an encoded slash or NUL");
    let found = found.ok_or_else(refused)?;
    found
        .iter()
        .map(|(name, value)| match value.contains(['/', '\0']) {
            true => Err(refused()),
            false => Ok((name.to_owned(), value.to_owned())),
        })
        .collect()
}

fn canonical(path: &str, base: &str) -> String {
    let mut collapsed = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        collapsed.push('/');
        collapsed.push_str(segment);
    }
    let base = base.trim_matches('/');
    let inside = (!base.is_empty()).then(|| collapsed.strip_prefix(&format!("/{base}"))).flatten();
    match inside {
        Some("") => "/".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ if collapsed.is_empty() => "/".to_owned(),
        _ => collapsed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path() {
        for (path, base, expected) in [
            ("/", "/", "/"),
            ("", "/", "/"),
            ("//", "/", "/"),
            ("//instances", "/", "/instances"),
            ("/instances/", "/", "/instances"),
            ("/a//b///c/", "/", "/a/b/c"),
            ("/api", "/api", "/"),
            ("/api/instances", "/api/", "/instances"),
            ("/instances", "/api", "/instances"),
            ("/apiary", "/api", "/apiary"),
            ("/a%2Fb", "/", "/a%2Fb"),
        ] {
            assert_eq!(canonical(path, base), expected, "{path} under {base}");
        }
    }
}
