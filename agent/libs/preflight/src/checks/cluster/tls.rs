//! Certificates of the mesh.

use std::path::Path;

use crate::finding::Finding;
use crate::subject::Subject;

/// PF-TLS.
pub(in crate::checks) fn tls(subject: &Subject) -> Vec<Finding> {
    let Some(files) = &subject.input.settings.tls else {
        return vec![Finding::skip("no certificate files of this host are given")];
    };
    vec![
        pem(subject, &files.ca, "CERTIFICATE"),
        pem(subject, &files.cert, "CERTIFICATE"),
        pem(subject, &files.key, "PRIVATE KEY"),
    ]
}

fn pem(subject: &Subject, path: &Path, kind: &str) -> Finding {
    let name = path.display();
    let bad = |got: String| {
        Finding::fail(got)
            .want(format!("a PEM file with a {kind}"))
            .why("nodes prove to each other who they are")
            .fix("put the file there, readable for root")
    };
    match subject.system.read(path) {
        Err(error) => bad(format!("{name}: {error}")),
        Ok(text) => {
            let begins =
                |line: &str| line.starts_with("-----BEGIN ") && line.ends_with(&format!("{kind}-----"));
            if text.lines().any(begins) {
                Finding::pass(format!("{name} holds a {kind}"))
            } else {
                bad(format!("{name} holds no {kind}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::input::TlsFiles;
    use crate::system::fake::{FakeSystem, subject_of};

    #[test]
    fn each_file_is_there_and_of_its_kind() {
        let mut system = FakeSystem::default();
        system.files.insert("/ca".into(), "-----BEGIN CERTIFICATE-----\n".into());
        system.files.insert("/key".into(), "-----BEGIN CERTIFICATE-----\n".into());
        let mut subject = subject_of(system, &[]);
        assert_eq!(tls(&subject)[0].level, Level::Skip);
        subject.input.settings.tls =
            Some(TlsFiles { ca: "/ca".into(), cert: "/cert".into(), key: "/key".into() });
        let levels: Vec<Level> = tls(&subject).into_iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Pass, Level::Fail, Level::Fail]);
    }
}
