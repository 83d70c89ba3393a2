//! Uploads as clients use them, on real files.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures::{Stream, stream};
use sf_blobs::Algorithm;
use sf_blobs::hashing::HasherSet;
use sf_blobs::layout::Store;
use sf_blobs::uploads::{AppendOptions, Appended, UploadError, UploadLimits, Uploads};
use sf_model::UploadId;

const LIMITS: UploadLimits = UploadLimits { chunk: 4 << 20, total: 6 << 20 };

struct Rig {
    _root: tempfile::TempDir,
    store: Store,
    uploads: Uploads,
    upload: UploadId,
}

async fn rig() -> Rig {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let uploads = Uploads::new(store.clone());
    let upload = UploadId::random();
    uploads.create(upload).await.unwrap();
    Rig { _root: root, store, uploads, upload }
}

fn whole(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + use<> {
    stream::iter([Ok(Bytes::copy_from_slice(bytes))])
}

impl Rig {
    async fn append(&self, bytes: &[u8], options: AppendOptions) -> Result<Appended, UploadError> {
        self.uploads.append(self.upload, options, LIMITS, whole(bytes)).await
    }

    /// Appends as a client that gets its answer.
    async fn send(&self, bytes: &[u8]) -> u64 {
        let length = Some(bytes.len() as u64);
        let appended =
            self.append(bytes, AppendOptions { length, ..AppendOptions::default() }).await.unwrap();
        appended.receipt.delivered();
        appended.size
    }

    fn on_disk(&self) -> Vec<u8> {
        std::fs::read(self.store.upload(self.upload)).unwrap()
    }

    async fn blake3(&self) -> String {
        let committing =
            self.uploads.begin_commit(self.upload, Arc::new(AtomicBool::new(false))).await.unwrap();
        committing.digests.get(&Algorithm::Blake3).unwrap().clone()
    }
}

fn blake3_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[tokio::test]
async fn many_chunks_then_a_truncate_then_more() {
    let rig = rig().await;
    let mut expected = Vec::new();
    for at in 0..100u8 {
        let chunk = [at; 52];
        expected.extend_from_slice(&chunk);
        assert_eq!(rig.send(&chunk).await, expected.len() as u64);
    }
    rig.uploads.truncate(rig.upload, 100).await.unwrap();
    expected.truncate(100);
    for at in 0..50u8 {
        let chunk = [at ^ 0x55; 52];
        expected.extend_from_slice(&chunk);
        assert_eq!(rig.send(&chunk).await, expected.len() as u64);
    }
    assert_eq!(expected.len(), 2700);
    assert_eq!(rig.on_disk(), expected);
    assert_eq!(rig.blake3().await, blake3_of(&expected));
}

#[tokio::test]
async fn a_truncate_to_a_recent_boundary_and_elsewhere_both_keep_the_hash_right() {
    for cut in [0u64, 3, 10, 20, 25] {
        let rig = rig().await;
        rig.send(b"0123456789").await;
        rig.send(b"abcdefghij").await;
        rig.send(b"vwxyz").await;
        rig.uploads.truncate(rig.upload, cut).await.unwrap();
        rig.send(b"!").await;
        let mut expected = b"0123456789abcdefghijvwxyz".to_vec();
        expected.truncate(cut as usize);
        expected.push(b'!');
        assert_eq!(rig.on_disk(), expected, "cut at {cut}");
        assert_eq!(rig.blake3().await, blake3_of(&expected), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_truncate_beyond_the_end_changes_nothing() {
    let rig = rig().await;
    rig.uploads.truncate(rig.upload, 0).await.unwrap();
    assert!(matches!(rig.uploads.truncate(rig.upload, 1).await, Err(UploadError::BeyondEnd { size: 0 })));
}

#[tokio::test]
async fn a_broken_body_leaves_no_trace() {
    let rig = rig().await;
    rig.send(b"kept").await;
    let broken = stream::iter([Ok(Bytes::from(vec![1; 3 << 20])), Err("connection reset")]);
    let options = AppendOptions { length: Some(4 << 20), ..AppendOptions::default() };
    let error = rig.uploads.append(rig.upload, options, LIMITS, broken).await.unwrap_err();
    assert!(matches!(error, UploadError::Cut { received: 3_145_728 }), "{error}");
    let short = rig.append(b"12", AppendOptions { length: Some(3), ..AppendOptions::default() }).await;
    assert!(matches!(short, Err(UploadError::Cut { received: 2 })));
    assert_eq!(rig.on_disk(), b"kept");
    assert_eq!(rig.send(b"!").await, 5);
    assert_eq!(rig.blake3().await, blake3_of(b"kept!"));
}

#[tokio::test]
async fn limits_hold_with_and_without_an_announced_length() {
    let rig = rig().await;
    let too_much = vec![0; (4 << 20) + 1];
    for length in [Some(too_much.len() as u64), None] {
        let refused = rig.append(&too_much, AppendOptions { length, ..AppendOptions::default() }).await;
        assert!(matches!(refused, Err(UploadError::TooLarge { .. })));
    }
    rig.send(&too_much[1..]).await;
    let refused = rig.append(&too_much[..3 << 20], AppendOptions::default()).await;
    assert!(matches!(refused, Err(UploadError::TooLarge { .. })), "beyond the total");
    assert_eq!(rig.on_disk().len(), 4 << 20);
}

#[tokio::test]
async fn an_offset_makes_a_chunk_count_once() {
    let rig = rig().await;
    let at = |offset| AppendOptions { offset: Some(offset), ..AppendOptions::default() };
    assert_eq!(rig.append(b"abc", at(0)).await.unwrap().size, 3);
    assert_eq!(rig.append(b"abc", at(0)).await.unwrap().size, 3, "sent again");
    assert!(matches!(rig.append(b"abd", at(0)).await, Err(UploadError::OffsetMismatch { size: 3 })));
    assert!(matches!(rig.append(b"abc", at(9)).await, Err(UploadError::OffsetMismatch { size: 3 })));
    assert_eq!(rig.append(b"abc", at(3)).await.unwrap().size, 6);
    assert_eq!(rig.on_disk(), b"abcabc");
}

#[tokio::test]
async fn without_an_offset_only_an_undelivered_answer_makes_a_replay() {
    let rig = rig().await;
    rig.send(b"same").await;
    assert_eq!(rig.send(b"same").await, 8, "the client knew, so this is new");
    let lost = rig.append(b"same", AppendOptions::default()).await.unwrap();
    assert_eq!(lost.size, 12);
    assert_eq!(rig.append(b"same", AppendOptions::default()).await.unwrap().size, 12, "a replay");
    assert_eq!(rig.append(b"diff", AppendOptions::default()).await.unwrap().size, 16, "not a replay");
    rig.send(b"same").await;
    let told = AppendOptions { previous_undelivered: true, ..AppendOptions::default() };
    assert_eq!(rig.append(b"same", told).await.unwrap().size, 20, "the proxy knew that the answer was lost");
    assert_eq!(rig.blake3().await, blake3_of(b"samesamesamediffsame"));
}

#[tokio::test]
async fn a_chunk_torn_by_the_death_of_the_daemon_is_cut_off() {
    let rig = rig().await;
    rig.send(b"acknowledged").await;
    // What the file looks like when the program dies in the middle of a chunk.
    let mut torn = rig.on_disk();
    torn.extend_from_slice(b"torn");
    std::fs::write(rig.store.upload(rig.upload), torn).unwrap();
    let restarted = Uploads::new(rig.store.clone());
    assert_eq!(restarted.size(rig.upload).await.unwrap(), 12);
    assert_eq!(rig.on_disk(), b"acknowledged");
}

#[tokio::test]
async fn a_restart_forgets_the_running_hash_and_the_commit_reads_again() {
    let rig = rig().await;
    rig.send(b"before").await;
    let restarted = Rig { uploads: Uploads::new(rig.store.clone()), ..rig };
    restarted.send(b"after").await;
    assert_eq!(restarted.blake3().await, blake3_of(b"beforeafter"));
    let committing = restarted.uploads.begin_commit(restarted.upload, Arc::default()).await.unwrap();
    let mut all = HasherSet::new(&Algorithm::INLINE);
    all.update(b"beforeafter");
    assert_eq!(committing.digests, all.finish());
    assert_eq!(committing.size, 11);
}

#[tokio::test]
async fn what_was_held_for_a_commit_is_written_no_more() {
    let rig = rig().await;
    rig.send(b"the bytes of a blob").await;
    let committing = rig.uploads.begin_commit(rig.upload, Arc::default()).await.unwrap();
    // As a commit does whose answer is lost: the bytes have another name, and nobody said that the upload is over.
    let blob = rig.store.blobs().join("published");
    std::fs::rename(rig.store.upload(rig.upload), &blob).unwrap();
    drop(committing);
    assert!(matches!(rig.append(b"more", AppendOptions::default()).await, Err(UploadError::Lost)));
    assert!(matches!(rig.uploads.truncate(rig.upload, 0).await, Err(UploadError::Lost)));
    assert_eq!(std::fs::read(blob).unwrap(), b"the bytes of a blob");
}

#[tokio::test]
async fn lost_and_discarded_uploads() {
    let rig = rig().await;
    assert!(matches!(rig.uploads.size(UploadId::random()).await, Err(UploadError::Lost)));
    rig.send(b"x").await;
    assert!(rig.uploads.discard(rig.upload).await.unwrap());
    assert!(!rig.uploads.discard(rig.upload).await.unwrap());
    assert!(matches!(rig.append(b"y", AppendOptions::default()).await, Err(UploadError::Lost)));
    assert_eq!(std::fs::read_dir(rig.store.uploads()).unwrap().count(), 0);
    assert_eq!(rig.uploads.active(), 0);
}

#[tokio::test]
async fn a_second_writer_waits_for_the_first() {
    let rig = rig().await;
    let (sender, body) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(1);
    let slow =
        Box::pin(stream::unfold(body, |mut body| async move { body.recv().await.map(|item| (item, body)) }));
    sender.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    let uploads = rig.uploads.clone();
    let upload = rig.upload;
    let first =
        tokio::spawn(async move { uploads.append(upload, AppendOptions::default(), LIMITS, slow).await });
    // The channel holds one item, so the second send returns only once the first append has begun.
    sender.send(Ok(Bytes::from_static(b"-"))).await.unwrap();
    let uploads = rig.uploads.clone();
    let second = tokio::spawn(async move {
        uploads.append(upload, AppendOptions::default(), LIMITS, whole(b"second")).await
    });
    tokio::task::yield_now().await;
    drop(sender);
    let first = first.await.unwrap().unwrap();
    assert_eq!(first.size, 6);
    assert_eq!(second.await.unwrap().unwrap().size, 12);
    assert_eq!(rig.on_disk(), b"first-second");
}
