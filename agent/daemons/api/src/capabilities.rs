//! What clients may count on: the one table of capability tokens, and the root page that shows it.
//!
//! Clients decide by a substring test over the whole page, so the page contains nothing else than the tokens, and a
//! token stands here only when its routes work.

/// Families and their tokens, in the order shown.
pub const TABLE: &[(&str, &[&str])] = &[
    ("admin", &["cluster-cacert", "cluster-resources"]),
    ("artifacts", &["artifact-metadata", "artifact-upload-types", "artifact-clusteroperations"]),
    ("auth", &["generated-key-secrets", "scope-enforcement"]),
    (
        "blobs",
        &[
            "blob-metadata",
            "blob-search-by-hash",
            "blob-data-limit",
            "blob-events",
            "blob-checksums",
            "blob-single-checksum",
            "blob-hash-sha1",
            "blob-hash-sha256",
            "blob-hash-xxh128",
        ],
    ),
    (
        "cluster-operations",
        &[
            "get-cluster-operations",
            "cluster-operation-chain",
            "cluster-operations-by-target",
            "object-pending-operations",
        ],
    ),
    ("events", &["events-by-type"]),
    (
        "instances",
        &[
            "pure-affinity",
            "spice-vdi-console",
            "vdi-console-helper",
            "get-instance-namespace",
            "instance-clusteroperations",
        ],
    ),
    (
        "networks",
        &[
            "list-addresses",
            "get-network-namespace",
            "provide-dns",
            "network-clusteroperations",
            "network-delete-async",
        ],
    ),
    ("networkinterfaces", &["interface-metadata"]),
    ("nodes", &["node-get", "node-metadata", "node-process-metrics"]),
];

/// The root page.
pub fn page() -> String {
    let items: String =
        TABLE.iter().map(|(family, tokens)| format!("<li>{family}: {}</li>\n", tokens.join(", "))).collect();
    format!(
        "<!DOCTYPE html>\n<html><head><title>Shaken Fist REST API</title></head>\n<body><ul>\n{items}</ul></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens of the contract whose routes do not exist yet.
    const ABSENT: &[&str] = &[
        "agentoperations-crud",
        "instance-agentoperations",
        "agentoperations-put-with-mode",
        "instance-put-blob",
        "instance-execute",
        "instance-get",
        "instance-screenshot",
        "hot-plug-interface",
        "include-queued-agent-operations",
        "agentoperation-deadlines",
        "route-addresses",
        "extra-dns-entries",
        "vdi-console-proxy",
        "vdi-token-pubkey",
        "namespace-claims",
        "trusted-issuers",
        "mapping-rules",
        "federated-exchange",
        "instance-batch-create",
        "recurring-operations",
    ];

    #[test]
    fn the_table_is_the_contract() {
        insta::assert_snapshot!(page());
    }

    #[test]
    fn tokens_are_well_formed_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for token in TABLE.iter().flat_map(|(_, tokens)| *tokens) {
            let plain = token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            assert!(plain && seen.insert(token), "{token}");
        }
    }

    #[test]
    fn what_does_not_work_is_nowhere_on_the_page() {
        for token in ABSENT {
            assert!(!page().contains(token), "{token}");
        }
    }
}
