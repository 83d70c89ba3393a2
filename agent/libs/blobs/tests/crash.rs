//! `SIGKILL` after every step of the commit sequence, for every producer, with real files. A child process (this test
//! binary again) walks the sequence up to a step and dies there; the parent then does what a restart does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use sf_blobs::commit::Staged;
use sf_blobs::hashing::{Algorithm, Digests, HasherSet};
use sf_blobs::journal::{Journal, Validators};
use sf_blobs::layout::Store;
use sf_blobs::purpose::Purpose;
use sf_blobs::recovery::{self, Recovered};
use sf_model::{BlobId, UploadId};

const CONTENT: &[u8] = b"every byte of it or none";
const STEPS: [&str; 6] = ["begun", "half", "written", "sealed", "published", "committed"];

fn digests() -> Digests {
    let mut set = HasherSet::new(&Algorithm::INLINE);
    set.update(CONTENT);
    set.finish()
}

fn die_at(step: &str) {
    if env::var("SF_CRASH_STEP").as_deref() == Ok(step) {
        kill(getpid(), Signal::SIGKILL).unwrap();
    }
}

/// The child. It is a test so that the harness of this binary runs it; without its variables it does nothing.
#[test]
fn child_that_dies() {
    let (Ok(root), Ok(purpose), Ok(blob)) =
        (env::var("SF_CRASH_ROOT"), env::var("SF_CRASH_PURPOSE"), env::var("SF_CRASH_BLOB"))
    else {
        return;
    };
    let store = Store::open(Path::new(&root)).unwrap();
    let purpose: Purpose = purpose.parse().unwrap();
    let mut journal = Journal::new(purpose, blob.parse().unwrap());
    if purpose == Purpose::Fetch {
        journal.validators = Some(Validators { etag: Some("\"1\"".into()), ..Validators::default() });
    }
    let staged = match env::var("SF_CRASH_UPLOAD") {
        Ok(upload) => {
            let staged = Staged::adopt_upload(&store, upload.parse().unwrap(), journal).unwrap();
            die_at("begun");
            die_at("half");
            staged
        }
        Err(_) => {
            let (mut staged, mut file) = Staged::begin(&store, journal).unwrap();
            die_at("begun");
            let (first, second) = CONTENT.split_at(10);
            file.write_all(first).unwrap();
            file.sync_data().unwrap();
            staged.record_progress(10).unwrap();
            file.write_all(&second[..3]).unwrap();
            die_at("half");
            file.write_all(&second[3..]).unwrap();
            staged
        }
    };
    die_at("written");
    let sealed = staged.seal(digests(), serde_json::json!({"repeat": "me"})).unwrap();
    die_at("sealed");
    let published = sealed.publish().unwrap();
    die_at("published");
    published.committed().unwrap();
    die_at("committed");
    panic!("the child was not told where to die");
}

struct Aftermath {
    root: tempfile::TempDir,
    store: Store,
    blob: BlobId,
    upload: Option<UploadId>,
}

fn crash(purpose: Purpose, step: &str) -> Aftermath {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let blob = BlobId::random();
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args(["--exact", "child_that_dies", "--nocapture"])
        .env("SF_CRASH_ROOT", root.path())
        .env("SF_CRASH_PURPOSE", purpose.as_str())
        .env("SF_CRASH_BLOB", blob.to_string())
        .env("SF_CRASH_STEP", step);
    let upload = (purpose == Purpose::Upload).then(UploadId::random);
    if let Some(upload) = upload {
        fs::write(store.upload(upload), CONTENT).unwrap();
        child.env("SF_CRASH_UPLOAD", upload.to_string());
    }
    let output = child.output().unwrap();
    assert_eq!(
        output.status.signal(),
        Some(9),
        "{purpose} {step}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Aftermath { root, store, blob, upload }
}

impl Aftermath {
    fn recover(&self) -> Vec<Recovered> {
        let store = Store::open(self.root.path()).unwrap();
        let finds = recovery::scan(&store).unwrap();
        finds.into_iter().map(|found| recovery::apply(&store, found).unwrap()).collect()
    }

    fn staging_is_empty(&self) -> bool {
        fs::read_dir(self.store.staging()).unwrap().count() == 0
    }

    fn replica(&self) -> Option<Vec<u8>> {
        fs::read(self.store.blob(self.blob)).ok()
    }
}

/// Runs recovery until nothing is left to do, as restarts would, and returns what the last one left.
#[test]
fn every_step_of_every_producer() {
    for purpose in Purpose::ALL {
        for step in STEPS {
            let after = crash(purpose, step);
            let what = format!("{purpose} killed after {step}");
            let recovered = after.recover();
            match step {
                "committed" => {
                    assert!(recovered.is_empty(), "{what}");
                    assert_eq!(after.replica().as_deref(), Some(CONTENT), "{what}");
                }
                "published" => commit(&after, recovered, &what),
                "sealed" if purpose != Purpose::Upload => commit(&after, recovered, &what),
                "half" | "written" if matches!(purpose, Purpose::Pull | Purpose::Fetch) => {
                    let [Recovered::Kept(journal)] = recovered.as_slice() else {
                        panic!("{what}: {recovered:?}")
                    };
                    assert_eq!(journal.verified_offset, 10, "{what}");
                    let partial = fs::read(after.store.partial(purpose, after.blob)).unwrap();
                    assert_eq!(partial, &CONTENT[..10], "{what}: cut back to what is known to be on disk");
                    assert!(matches!(after.recover().as_slice(), [Recovered::Kept(_)]), "{what}: again");
                }
                _ => {
                    let [Recovered::Abort(blob)] = recovered.as_slice() else {
                        panic!("{what}: {recovered:?}")
                    };
                    assert_eq!(*blob, after.blob, "{what}");
                    assert!(after.staging_is_empty(), "{what}");
                    assert_eq!(after.replica(), None, "{what}");
                    assert!(after.recover().is_empty(), "{what}: again");
                    if let Some(upload) = after.upload {
                        let path = after.store.upload(upload);
                        assert_eq!(fs::read(&path).unwrap(), CONTENT, "{what}: the upload keeps its bytes");
                        assert!(!fs::metadata(&path).unwrap().permissions().readonly(), "{what}");
                    }
                }
            }
        }
    }
}

fn commit(after: &Aftermath, recovered: Vec<Recovered>, what: &str) {
    assert_eq!(recovered.len(), 1, "{what}");
    // Dying again before the database answered changes nothing.
    let mut again = after.recover();
    let Some(Recovered::Commit(published)) = again.pop() else { panic!("{what}: {again:?}") };
    assert_eq!(published.blob(), after.blob, "{what}");
    assert_eq!(published.facts().digests, digests(), "{what}");
    assert_eq!(published.facts().commit, serde_json::json!({"repeat": "me"}), "{what}");
    published.committed().unwrap();
    assert_eq!(after.replica().as_deref(), Some(CONTENT), "{what}");
    assert!(after.staging_is_empty(), "{what}");
}
