//! A request as its typed struct reads it: path, parameters, and for one route the raw body.

use std::sync::Arc;

use axum::body::Body;
use serde_json::Value;
use sf_config::ClusterConfig;

use crate::params::{Fault, Fields};

/// A typed request. One struct per route.
pub trait Request: Sized + Send {
    /// Reads and checks everything that can be checked without looking anything up.
    ///
    /// # Errors
    /// The first problem.
    fn read(input: &mut Input) -> Result<Self, Fault>;
}

/// A route without parameters.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Request for Nothing {
    fn read(_: &mut Input) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// The raw body of an upload.
#[derive(Debug)]
pub struct RawBody {
    /// The bytes.
    pub body: Body,
    /// The announced length.
    pub length: Option<u64>,
    /// The `Upload-Offset` header.
    pub offset: Option<u64>,
    /// The `Range` header, for downloads.
    pub range: Option<String>,
}

/// What a request brought along.
#[derive(Debug)]
pub struct Input {
    /// Parameters of body and query.
    pub fields: Fields,
    path: Vec<(String, String)>,
    raw: Option<RawBody>,
    cluster: Arc<ClusterConfig>,
}

impl Input {
    /// Puts the parts together.
    pub fn new(
        path: Vec<(String, String)>,
        fields: Fields,
        raw: Option<RawBody>,
        cluster: Arc<ClusterConfig>,
    ) -> Self {
        Self { fields, path, raw, cluster }
    }

    /// A parameter of the path.
    ///
    /// # Errors
    /// The parser refuses it.
    pub fn path<T>(&self, name: &str, parse: impl FnOnce(Value) -> Result<T, Fault>) -> Result<T, Fault> {
        let found = self.path.iter().find(|(known, _)| known == name);
        // A name that the route does not have is a defect of ours; it then shows as a missing parameter.
        let (_, text) = found.ok_or_else(|| Fault::new("required").at(name))?;
        parse(Value::String(text.clone())).map_err(|fault| fault.at(name))
    }

    /// The cluster's configuration, for limits.
    pub fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// The raw body and the headers that belong to it.
    pub fn raw(&mut self) -> Option<RawBody> {
        self.raw.take()
    }

    /// Refuses what nobody asked for.
    ///
    /// # Errors
    /// A parameter is left.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.fields.finish()
    }
}
