//! `GET /blob_checksums/{algorithm}/{hash}`: a blob the caller may read, or null. Knowing a hash gives nobody the bytes.

use serde_json::Value;
use sf_blobs::Algorithm;
use sf_protos::blobs::FindBlobByHashRequest;

use super::checksum::ALGORITHMS;
use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, choice, string};
use crate::reply::{ApiResult, Reply};
use crate::views::BlobView;

/// Which hash.
pub struct Find {
    algorithm: Algorithm,
    hash: String,
}

impl Request for Find {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let algorithm = input.path("algorithm", choice(ALGORITHMS))?;
        Ok(Self { algorithm, hash: input.path("hash", hash_of(algorithm))? })
    }
}

fn hash_of(algorithm: Algorithm) -> impl Fn(Value) -> Result<String, Fault> {
    let refused = move || Fault::new(format!("must be {} hexadecimal digits", algorithm.hex_length()));
    move |value| algorithm.normalise(&string(value)?).ok_or_else(refused)
}

/// Answers the blob or null.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, request: Find) -> ApiResult {
    let wanted = FindBlobByHashRequest {
        caller: call.wire(),
        algorithm: request.algorithm.to_string(),
        value: request.hash,
    };
    match call.tier(wanted).await?.blob {
        Some(blob) => Ok(Reply::view(BlobView::from(blob))),
        None => Ok(Reply::null()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hashes_have_their_length() {
        assert_eq!(
            hash_of(Algorithm::Xxh128)(json!("AB".repeat(16))).as_deref(),
            Ok("ab".repeat(16).as_str())
        );
        for bad in ["ab", &"g".repeat(32), &"a".repeat(64)] {
            assert!(hash_of(Algorithm::Xxh128)(json!(bad)).is_err(), "{bad}");
        }
    }
}
