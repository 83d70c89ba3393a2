//! Certificates of the mesh.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use rustls::pki_types::UnixTime;

use super::identity::{Identity, expiry};
use crate::finding::Finding;
use crate::input::{Pem, TlsFiles};
use crate::pem;
use crate::subject::Subject;

/// How long before its end a certificate is spoken of.
const NOTICE: Duration = Duration::from_secs(30 * 24 * 3600);

/// PF-TLS.
pub(in crate::checks) fn tls(subject: &Subject) -> Vec<Finding> {
    let Some(files) = &subject.input.settings.tls else {
        return vec![Finding::skip("no certificate files of this host are given")];
    };
    let authorities = part(subject, "CA", &files.ca, pem::certificates);
    let chain = part(subject, "certificate", &files.cert, pem::certificates);
    let key = part(subject, "key", &files.key, pem::key);
    match (authorities, chain, key) {
        (Ok(authorities), Ok(chain), Ok(key)) => match Identity::new(authorities, chain, key) {
            Ok(identity) => judge(&identity, files, &subject.input.node.node_name, subject.system.now()),
            Err(error) => vec![
                unfit(format!("a certificate of {} or {} is none: {error}", files.ca, files.cert))
                    .fix("have both written again by the authority"),
            ],
        },
        (authorities, chain, key) => {
            [authorities.err(), chain.err(), key.err()].into_iter().flatten().collect()
        }
    }
}

/// What a text holds, or why that is of no use.
fn part<T>(
    subject: &Subject,
    what: &str,
    source: &Pem,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, Finding> {
    let bad =
        |why: String| unfit(format!("{what} {source} {why}")).fix("put it there in PEM, readable for root");
    match source {
        Pem::Text(text) => parse(text.expose()).map_err(bad),
        Pem::File(path) => {
            let text = subject.system.read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
            parse(&text).map_err(bad)
        }
    }
}

fn judge(identity: &Identity, files: &TlsFiles, name: &str, now: SystemTime) -> Vec<Finding> {
    let cert = &files.cert;
    let key = identity.key_fits().map_err(|error| {
        unfit(format!("the key {} does not belong to the certificate {cert}: {error}", files.key))
            .fix("give the key with which this certificate was asked for")
    });
    let name_fits = identity.is_for(name).map_err(|error| {
        unfit(said(&error))
            .want(format!("{name} among the alternative names (DNS) of the certificate"))
            .fix(format!("have {cert} issued for {name}, or set sf_node_name to a name that it has"))
    });
    let lasts = time_of(now).map(|now| validity(identity, files, now));
    let found = [key.err(), name_fits.err(), lasts.unwrap_or_else(|why| Some(Finding::skip(why)))];
    let found: Vec<Finding> = found.into_iter().flatten().collect();
    if found.is_empty() { vec![Finding::pass(format!("{cert} is valid for {name}"))] } else { found }
}

/// What is wrong with the chain now, or will be soon.
fn validity(identity: &Identity, files: &TlsFiles, now: UnixTime) -> Option<Finding> {
    let cert = &files.cert;
    match identity.is_believed(now) {
        Err(error) => Some(match expiry(&error) {
            Some(end) => unfit(format!("{cert} ended on {}", day(end))).fix("have it issued again"),
            None => unfit(format!("{cert} is not believed with {}: {}", files.ca, said(&error))).fix(
                "give the whole chain, the node's own certificate first, and the CA at its end; it must be for servers and clients",
            ),
        }),
        Ok(()) => {
            let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + NOTICE);
            let end = identity.is_believed(later).err().as_ref().and_then(expiry)?;
            Some(Finding::warn(format!("{cert} ends on {}", day(end))).fix("have it issued again before that day"))
        }
    }
}

fn unfit(got: String) -> Finding {
    Finding::fail(got)
        .want("a certificate for this node's name, for servers and clients, issued by the CA, and its key")
        .why("nodes prove to each other who they are")
}

/// The library's words without its general opening.
fn said(error: &rustls::Error) -> String {
    error.to_string().trim_start_matches("invalid peer certificate: ").to_owned()
}

fn time_of(now: SystemTime) -> Result<UnixTime, String> {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map(UnixTime::since_unix_epoch)
        .map_err(|_| "the clock of this host is before 1970".to_owned())
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .map_or_else(|| format!("second {seconds}"), |date| date.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
    };
    use rstest::rstest;
    use sf_config::Secret;

    use super::*;
    use crate::finding::Level::{self, Fail, Pass, Warn};
    use crate::system::fake::{FakeSystem, subject_of};

    /// The clock of every test stands on 2030-06-15.
    const TODAY: Duration = Duration::from_secs(1_907_712_000);

    /// PEM texts of a CA, a certificate and its key.
    struct Papers {
        ca: String,
        cert: String,
        key: String,
    }

    /// What an authority is asked for.
    fn request(name: &str, end: (i32, u8, u8)) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    fn issue(params: &CertificateParams) -> Papers {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        Papers { ca: ca.pem(), cert: cert.pem(), key: key.serialize_pem() }
    }

    fn fine() -> Papers {
        issue(&request("n", (2031, 1, 1)))
    }

    fn examined(papers: &Papers) -> Vec<Finding> {
        let mut system = FakeSystem { now: SystemTime::UNIX_EPOCH + TODAY, ..FakeSystem::default() };
        for (path, text) in [("/ca", &papers.ca), ("/cert", &papers.cert), ("/key", &papers.key)] {
            system.files.insert(path.into(), text.clone());
        }
        let mut subject = subject_of(system, &[]);
        let file = |path: &str| Pem::File(path.into());
        subject.input.settings.tls =
            Some(TlsFiles { ca: file("/ca"), cert: file("/cert"), key: file("/key") });
        tls(&subject)
    }

    #[rstest]
    #[case::valid(fine(), &[(Pass, "valid for n")])]
    #[case::key_of_another(Papers { key: fine().key, ..fine() }, &[(Fail, "/key does not belong")])]
    #[case::unknown_authority(Papers { ca: fine().ca, ..fine() }, &[(Fail, "/cert is not believed with /ca: ")])]
    #[case::other_name(issue(&request("m", (2031, 1, 1))), &[(Fail, "only valid for DnsName(\"m\")")])]
    #[case::ended(issue(&request("n", (2030, 6, 1))), &[(Fail, "/cert ended on 2030-06-01")])]
    #[case::ends_soon(issue(&request("n", (2030, 7, 1))), &[(Warn, "/cert ends on 2030-07-01")])]
    #[case::everything(
        Papers { key: fine().key, ..issue(&request("m", (2030, 6, 1))) },
        &[(Fail, "does not belong"), (Fail, "only valid for"), (Fail, "ended on")]
    )]
    #[case::no_key(Papers { key: fine().cert, ..fine() }, &[(Fail, "key /key holds no PRIVATE KEY")])]
    #[case::nothing(
        Papers { ca: String::new(), cert: "lorem".into(), key: String::new() },
        &[(Fail, "CA /ca holds no CERTIFICATE"), (Fail, "certificate /cert holds no"), (Fail, "key /key holds no")]
    )]
    fn a_certificate_is_judged_as_the_other_nodes_will(
        #[case] papers: Papers,
        #[case] expected: &[(Level, &str)],
    ) {
        let found = examined(&papers);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (finding, (level, words)) in found.iter().zip(expected) {
            assert!(finding.level == *level && finding.got.contains(words), "{words}: {finding:#?}");
            let key = papers.key.lines().nth(1).unwrap_or("no key");
            assert!(!format!("{finding:?}").contains(key), "the key is quoted");
        }
    }

    #[test]
    fn a_certificate_for_servers_alone_is_refused() {
        let mut params = request("n", (2031, 1, 1));
        params.extended_key_usages.truncate(1);
        let found = examined(&issue(&params));
        assert!(found.len() == 1 && found[0].got.contains("not believed"), "{found:#?}");
    }

    #[test]
    fn what_is_not_given_is_skipped_and_what_is_not_there_is_named() {
        let mut subject = subject_of(FakeSystem::default(), &[]);
        assert_eq!(tls(&subject)[0].level, Level::Skip);
        let papers = fine();
        let text = |text: &str| Pem::Text(Secret::new(text.to_owned()));
        subject.input.settings.tls =
            Some(TlsFiles { ca: text(&papers.ca), cert: Pem::File("/none".into()), key: text(&papers.key) });
        let found = tls(&subject);
        assert!(
            found.len() == 1 && found[0].got.starts_with("certificate /none cannot be read"),
            "{found:#?}"
        );
    }
}
