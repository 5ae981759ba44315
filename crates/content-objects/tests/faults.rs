//! Before a server that fails: what was acknowledged is whole, what is read is right or an error.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod servers;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use content::{ContentError, ContentId, ContentInfo, ContentStore};
use content_objects::{ObjectContent, Patience};
use s3_server::{Fault, FaultProxy, KEY, mixed};
use servers::{S3Server, chance, now};

const MIB: usize = 1024 * 1024;

/// Little, so that tests see errors too.
const PATIENCE: Patience = Patience {
    request: Duration::from_secs(2),
    retries_max: 2,
    retrying: Duration::from_secs(5),
    pause: Duration::from_millis(5),
};

fn bytes(seed: u64, length: usize) -> Bytes {
    let words = (0..length.div_ceil(8) as u64).flat_map(|at| mixed(seed << 40 | at).to_le_bytes());
    words.take(length).collect()
}

async fn write(store: &ObjectContent, content: &Bytes) -> Result<ContentInfo, ContentError> {
    let mut writer = store.writer().await?;
    for at in (0..content.len()).step_by(300_007) {
        writer
            .write(content.slice(at..content.len().min(at + 300_007)))
            .await?;
    }
    writer.finish().await
}

async fn read(store: &ObjectContent, id: ContentId, range: Range<u64>) -> Result<Vec<u8>, ContentError> {
    let mut reader = store.reader(id, range).await?;
    let mut found = Vec::new();
    while let Some(piece) = reader.next().await? {
        found.extend_from_slice(&piece);
    }
    Ok(found)
}

/// A server, a proxy before it that follows `plan` while it is armed, and a store on each side.
struct Setting {
    server: S3Server,
    proxy: FaultProxy,
    armed: Arc<AtomicBool>,
    /// Through the proxy.
    store: ObjectContent,
    /// Past it.
    sound: ObjectContent,
}

async fn setting(plan: impl Fn(u64, &str) -> Fault + Send + Sync + 'static) -> Setting {
    let server = S3Server::start().await;
    let sound = server.options(server.address, Patience::default());
    let sound = ObjectContent::open(&sound, now(), chance(1)).await.unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let arms = armed.clone();
    let plan = move |number, line: &str| {
        if arms.load(Ordering::SeqCst) {
            plan(number, line)
        } else {
            Fault::None
        }
    };
    let proxy = FaultProxy::start(server.address, Arc::new(plan)).await.unwrap();
    let options = server.options(proxy.address, PATIENCE);
    let store = ObjectContent::open(&options, now(), chance(2)).await.unwrap();
    armed.store(true, Ordering::SeqCst);
    Setting {
        server,
        proxy,
        armed,
        store,
        sound,
    }
}

/// Hits only the first request that `chosen` picks.
fn once(fault: Fault, chosen: fn(&str) -> bool) -> impl Fn(u64, &str) -> Fault + Send + Sync + 'static {
    let hit = AtomicBool::new(false);
    move |_, line| {
        if chosen(line) && !hit.swap(true, Ordering::SeqCst) {
            fault
        } else {
            Fault::None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failure_of_any_kind_is_retried() {
    let faults = [
        Fault::Answer(500),
        Fault::Answer(503),
        Fault::Answer(429),
        Fault::Slow(300),
        Fault::CutRequest(70_000),
        Fault::CutAnswer(0),
        Fault::CutAnswer(100_000),
        Fault::Flip(70_000),
    ];
    for fault in faults {
        for chosen in [
            |line: &str| line.starts_with("PUT"),
            |line: &str| line.starts_with("GET"),
        ] {
            let setting = setting(once(fault, chosen)).await;
            let content = bytes(1, 200_000);
            let info = write(&setting.store, &content).await;
            let info = info.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            let found = read(&setting.store, info.id, 0..u64::MAX).await;
            let found = found.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            assert!(found == content, "{fault:?}: wrong bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_the_first_step_is_asked_for_again() {
    let begins = |line: &str| line.starts_with("POST") && !line.contains("uploadId=");
    for place in [0, 60] {
        let setting = setting(once(Fault::CutAnswer(place), begins)).await;
        let content = bytes(2, 9 * MIB);
        let info = write(&setting.store, &content).await.unwrap();
        assert!(read(&setting.sound, info.id, 0..u64::MAX).await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_the_last_step_is_asked_for() {
    let completes = |line: &str| line.starts_with("POST") && line.contains("uploadId=");
    let setting = setting(once(Fault::CutAnswer(0), completes)).await;
    let content = bytes(2, 9 * MIB);
    let info = write(&setting.store, &content).await.unwrap();
    assert!(read(&setting.sound, info.id, 0..u64::MAX).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_seed_nothing_acknowledged_is_lost_and_nothing_read_is_wrong() {
    let (mut written, mut refused, mut read_well, mut read_badly) = (0, 0, 0, 0);
    for seed in 0..6_u64 {
        let plan = move |number, _: &str| {
            let draw = mixed(seed << 32 | number);
            let at = usize::try_from((draw >> 16) % 300_000).unwrap();
            // Two of three requests fail: retries are used up now and then.
            match draw % 12 {
                0 => Fault::Answer(500),
                1 => Fault::Answer(503),
                2 => Fault::Slow(draw >> 8 & 63),
                3 => Fault::CutRequest(at),
                4 | 5 => Fault::CutAnswer(at),
                6 => Fault::Flip(at),
                7 => Fault::CutAnswer(at % 1_000),
                _ => Fault::None,
            }
        };
        let setting = setting(plan).await;
        let mut acknowledged = Vec::new();
        for number in 0..14_u64 {
            let length = match number {
                3 => 9 * MIB + 5,
                7 => 17 * MIB,
                _ => usize::try_from(mixed(number) % 400_000).unwrap(),
            };
            let content = bytes(seed << 8 | number, length);
            match write(&setting.store, &content).await {
                Ok(info) => acknowledged.push((info, content)),
                Err(ContentError::Unavailable(_)) => refused += 1,
                Err(error) => panic!("seed {seed}, content {number}: {error}"),
            }
        }
        written += acknowledged.len();
        for (info, content) in &acknowledged {
            let end = info.length_bytes;
            for range in [0..u64::MAX, end / 3..end / 2, end.saturating_sub(70_000)..end] {
                let clamp = |at: u64| usize::try_from(at.min(end)).unwrap();
                let wanted = &content[clamp(range.start)..clamp(range.end)];
                match read(&setting.store, info.id, range.clone()).await {
                    Ok(found) => {
                        assert!(found == wanted, "seed {seed}, {info:?}: {range:?} is wrong");
                        read_well += 1;
                    }
                    // Flipped twice in a row is damage as far as a reader can know.
                    Err(ContentError::Unavailable(_) | ContentError::Corrupt { .. }) => read_badly += 1,
                    Err(error) => panic!("seed {seed}, {info:?}: {error}"),
                }
            }
        }
        // Past the proxy: all that was acknowledged is there, whole.
        for (info, content) in &acknowledged {
            let found = read(&setting.sound, info.id, 0..u64::MAX).await.unwrap();
            assert!(
                found == *content,
                "seed {seed}: {info:?} was acknowledged and isn't whole"
            );
            assert_eq!(setting.sound.info(info.id).await.unwrap(), *info);
        }
        // What was refused may be there, but then it is whole, too.
        for info in setting.sound.list(None, 1_000).await.unwrap() {
            let found = read(&setting.sound, info.id, 0..u64::MAX).await.unwrap();
            assert_eq!(found.len() as u64, info.length_bytes);
        }
    }
    println!("{written} written, {refused} refused, {read_well} read, {read_badly} not");
    assert!(
        written > 20 && read_well > 60,
        "too little got through to say anything"
    );
    assert!(refused > 0 && read_badly > 0, "too little failed to say anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_the_request_and_no_secret_and_say_whether_they_pass() {
    for status in [400, 401, 403, 408, 429, 500, 501, 502, 503, 504] {
        let setting = setting(move |_, _| Fault::Answer(status)).await;
        let id = ContentId::from_bytes([1; 16]);
        let errors = [
            write(&setting.store, &bytes(1, 10)).await.unwrap_err(),
            read(&setting.store, id, 0..1).await.unwrap_err(),
            setting.store.delete(id).await.unwrap_err(),
            setting.store.list(None, 1).await.unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            let is_passing = matches!(error, ContentError::Unavailable(_));
            assert!(is_passing || matches!(error, ContentError::Io(_)), "{text}");
            let passes = matches!(status, 408 | 429 | 500 | 502..=504);
            assert_eq!(is_passing, passes, "{status}: {text}");
            assert!(text.contains("in-the-head-"), "{text}");
            assert!(text.contains(&status.to_string()), "{text}");
            assert!(!text.contains(KEY), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_ends_in_an_error_in_time() {
    let setting = setting(|_, _| Fault::Slow(60_000)).await;
    let content = bytes(1, 100);
    // Each try may take 2 s, none begins after 5 s.
    let written = tokio::time::timeout(Duration::from_secs(10), write(&setting.store, &content)).await;
    let error = written.expect("an error in time").unwrap_err();
    assert!(matches!(error, ContentError::Unavailable(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_answers_for_is_unavailable() {
    let setting = setting(|_, _| Fault::None).await;
    let (store, proxy) = (setting.store, setting.proxy);
    let info = write(&store, &bytes(1, 100_000)).await.unwrap();
    drop(proxy);
    let id = info.id;
    let errors = [
        write(&store, &bytes(1, 100)).await.unwrap_err(),
        write(&store, &bytes(1, 9 * MIB)).await.unwrap_err(),
        read(&store, id, 0..1).await.unwrap_err(),
        store.info(id).await.unwrap_err(),
        store.delete(id).await.unwrap_err(),
        store.list(None, 1).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, ContentError::Unavailable(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_given_up_leaves_no_parts() {
    let setting = setting(|_, _| Fault::None).await;
    let mut writer = setting.store.writer().await.unwrap();
    for number in 0..20 {
        writer.write(bytes(number, MIB)).await.unwrap();
    }
    assert!(
        !setting.server.unfinished_parts().is_empty(),
        "no part was ever sent"
    );
    drop(writer);
    for _ in 0..200 {
        if setting.server.unfinished_parts().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("left: {:?}", setting.server.unfinished_parts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_can_not_be_finished() {
    let setting = setting(|_, line| {
        if line.starts_with("PUT") {
            Fault::Answer(500)
        } else {
            Fault::None
        }
    })
    .await;
    let mut writer = setting.store.writer().await.unwrap();
    let mut failed = false;
    for number in 0..60 {
        failed |= writer.write(bytes(number, MIB)).await.is_err();
    }
    assert!(failed, "60 MiB were taken although no part arrived");
    assert!(writer.write(bytes(1, 1)).await.is_err());
    setting.armed.store(false, Ordering::SeqCst);
    assert!(writer.finish().await.is_err());
    assert_eq!(setting.sound.list(None, 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_content_is_one_request_each_way() {
    let setting = setting(|_, _| Fault::None).await;
    let before = setting.proxy.counts().requests();
    let content = bytes(3, 100_000);
    let info = write(&setting.store, &content).await.unwrap();
    assert_eq!(setting.proxy.counts().requests(), before + 1);
    assert!(read(&setting.store, info.id, 0..u64::MAX).await.unwrap() == content);
    assert_eq!(setting.proxy.counts().requests(), before + 2);
}
