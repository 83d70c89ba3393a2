//! Which node has which upload. The mapping never changes, so an append costs the database nothing.

use std::collections::HashMap;

use parking_lot::Mutex;
use sf_blobs::client::Peer;
use sf_model::{ObjectType, UploadId};
use sf_protos::blobs::{GetUploadRequest, Upload};

use crate::call::{Call, noun};
use crate::error::ApiError;
use crate::nodes;

/// Uploads remembered at a time.
const MOST: usize = 10_000;

/// An upload as appends need it.
#[derive(Debug, Clone)]
pub struct Owner {
    namespace: String,
    /// The node that stores it.
    pub peer: Peer,
    /// That node's name.
    pub node_name: String,
}

/// The mapping.
#[derive(Debug, Default)]
pub struct UploadOwners {
    known: Mutex<HashMap<UploadId, Owner>>,
}

impl UploadOwners {
    /// The node that stores an upload of the caller.
    ///
    /// # Errors
    /// 404 for an upload that is missing or somebody else's.
    pub async fn find(&self, call: &Call, upload: UploadId) -> Result<Owner, ApiError> {
        let known = self.known.lock().get(&upload).cloned();
        let owner = match known {
            Some(owner) => owner,
            None => {
                let request = GetUploadRequest { caller: call.wire(), upload_uuid: upload.to_string() };
                let found = call.tier(request).await?.upload.unwrap_or_default();
                self.remember(call, upload, &found)?
            }
        };
        if call.caller.owns(&owner.namespace) {
            Ok(owner)
        } else {
            Err(ApiError::not_found(noun(ObjectType::Upload)))
        }
    }

    /// Notes where a new upload is.
    ///
    /// # Errors
    /// 503 when the node cannot be named.
    pub fn remember(&self, call: &Call, upload: UploadId, found: &Upload) -> Result<Owner, ApiError> {
        let owner = Owner {
            namespace: found.namespace.clone(),
            peer: nodes::peer(&call.api, &found.node_uuid, &found.node_name, &found.mesh_ip)?,
            node_name: found.node_name.clone(),
        };
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(upload, owner.clone());
        Ok(owner)
    }

    /// Forgets an upload that is gone.
    pub fn forget(&self, upload: UploadId) {
        self.known.lock().remove(&upload);
    }
}
