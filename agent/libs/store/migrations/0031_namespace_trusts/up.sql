-- `namespace` trusts `trusted`. Trust in `system` is implicit and has no row.
CREATE TABLE IF NOT EXISTS namespace_trusts (
    namespace VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    trusted VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (namespace, trusted),
    KEY by_trusted (trusted, namespace),
    FOREIGN KEY (namespace) REFERENCES namespaces (name) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
