//! Saving and loading: everything comes back, nothing else is taken, and nothing changes on an error.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use metrics_core::{
    BootStrapper, Checkpoint, CheckpointError, Error, Formula, Metric, MetricCollection, MinMax, Reduction, Result,
    Running,
};
use proptest::prelude::*;

use crate::toy::{Mae, REDUCTIONS, batch, zeros};

fn empty() -> MetricCollection {
    let insert = |metrics: MetricCollection, reduction: Reduction| {
        metrics.with(format!("{reduction}/50% of it"), Mae::new(reduction))
    };
    let metrics = REDUCTIONS.into_iter().try_fold(MetricCollection::new(), insert);
    let recent = Running::new(Mae::new(Reduction::None), 2).expect("a window");
    metrics.and_then(|metrics| metrics.with("parts", parts()?)?.with("recent", recent)).expect("different names")
}

/// A metric whose state has parts of every kind.
fn parts() -> Result<impl Metric + use<>> {
    let running = Running::new(Mae::new(Reduction::Summary), 2)?;
    MinMax::new(BootStrapper::new(Formula::of(Mae::new(Reduction::Mean)) + Formula::of(running), 2, 1)?)
}

fn updated(batches: &[&[f32]]) -> Result<MetricCollection> {
    let mut metrics = empty();
    for errors in batches {
        let pred = batch(errors);
        metrics.update(&pred, &zeros(&pred))?;
    }
    Ok(metrics)
}

fn some() -> MetricCollection {
    updated(&[&[0.1, 1e-30, 3e7], &[f32::INFINITY, 0.7], &[0.3]]).expect("batches that fit")
}

/// Everything that a collection holds.
fn content(metrics: &MetricCollection) -> Checkpoint {
    metrics.save_state().expect("nothing waits on a device")
}

#[test]
fn everything_comes_back_to_the_last_bit() -> Result<()> {
    for metrics in [empty(), some(), updated(&[&[f32::NAN, 1.0]])?] {
        let bytes = metrics.to_bytes()?;
        assert_eq!(bytes, metrics.clone().to_bytes()?);
        let mut loaded = updated(&[&[5.0]])?;
        loaded.load_bytes(&bytes)?;
        assert_eq!(content(&loaded), content(&metrics));
        assert_eq!(loaded.to_bytes()?, bytes);
    }
    Ok(())
}

#[test]
fn a_resumed_run_gives_what_an_unbroken_one_gives() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics.safetensors");
    some().save(&path)?;
    let mut resumed = empty();
    resumed.load(&path)?;
    let mut unbroken = some();
    for metrics in [&mut resumed, &mut unbroken] {
        let pred = batch(&[2.0, 1e-3]);
        metrics.update(&pred, &zeros(&pred))?;
    }
    assert_eq!(content(&resumed), content(&unbroken));
    Ok(())
}

#[test]
fn one_metric_alone() -> Result<()> {
    let mut metric = Mae::new(Reduction::Summary);
    let pred = batch(&[1.0, 2.0]);
    metric.update(&pred, &zeros(&pred))?;
    let checkpoint = metric.save_state()?;
    assert_eq!((checkpoint.updates(), checkpoint.fingerprint()), (1, metric.fingerprint()));

    let mut boxed: Box<dyn Metric> = Box::new(Mae::new(Reduction::Summary));
    boxed.load_state(&checkpoint)?;
    assert_eq!(boxed.compute()?, metric.compute()?);

    let error = Mae::new(Reduction::Mean).load_state(&checkpoint).unwrap_err();
    assert!(matches!(&error, Error::Checkpoint { error: CheckpointError::Configuration { .. }, .. }));
    let expected = "checkpoint: it is of mae[reduction=\"summary\"], but must be of mae[reduction=\"mean\"]";
    assert_eq!(error.to_string(), expected);
    Ok(())
}

#[test]
fn states_of_many_values_come_back() -> Result<()> {
    let mut metrics = empty();
    for batch_of_many in 0..8u16 {
        let errors: Vec<_> = (0..500).map(|image| f32::from(500 * batch_of_many + image).sqrt()).collect();
        let pred = batch(&errors);
        metrics.update(&pred, &zeros(&pred))?;
    }
    let mut loaded = empty();
    loaded.load_bytes(&metrics.to_bytes()?)?;
    assert_eq!(content(&loaded), content(&metrics));
    Ok(())
}

/// The error of loading these bytes, which leaves the collection as it was.
fn refused(bytes: &[u8]) -> CheckpointError {
    let mut metrics = updated(&[&[1.0]]).expect("a batch that fits");
    let before = content(&metrics);
    let Err(Error::Checkpoint { error, .. }) = metrics.load_bytes(bytes) else { panic!("it was loaded") };
    assert_eq!(content(&metrics), before);
    error
}

/// The file with one text replaced by another of the same length.
fn with_text(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = some().to_bytes().expect("bytes");
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("the text is there");
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn each_way_to_be_wrong_has_its_error() -> Result<()> {
    use CheckpointError as E;
    let bytes = some().to_bytes()?;
    let (length, half) = (bytes.len() as u64, bytes.len() / 2);
    assert!(matches!(refused(&[]), E::Size { found: 0, expected: 8 }));
    assert!(
        matches!(refused(&bytes[..half]), E::Size { found, expected } if found == half as u64 && expected == length)
    );
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(matches!(refused(&longer), E::Size { found, expected } if found == length + 1 && expected == length));
    assert!(matches!(refused(b"\x89PNG\r\n\x1a\n and so on"), E::Size { .. }));
    assert!(matches!(refused(b"\x04\0\0\0\0\0\0\0 no!"), E::Header { .. }));

    let foreign = refused(&with_text("candle-metrics", "candle-weights"));
    assert_eq!(foreign.to_string(), "its format is `candle-weights`, but must be `candle-metrics`");
    let anonymous = refused(b"\x02\0\0\0\0\0\0\0{}");
    assert_eq!(anonymous.to_string(), "its format is not named, but must be `candle-metrics`");
    for version in ["1", "3"] {
        let other = refused(&with_text(r#""version":"2""#, &format!(r#""version":"{version}""#)));
        assert_eq!(other.to_string(), format!("its format has version {version}, but this program reads version 2"));
    }
    let renamed = refused(&with_text(r#""updates":"3""#, r#""updates":"4""#));
    assert!(matches!(renamed, E::Checksum { .. }), "{renamed}");
    let retyped = refused(&with_text(r#""dtype":"F64""#, r#""dtype":"I64""#));
    assert!(matches!(&retyped, E::Entry { found, .. } if found.starts_with("I64")), "{retyped}");

    let mut tampered = bytes.clone();
    *tampered.last_mut().expect("a byte") ^= 1;
    let text = refused(&tampered).to_string();
    assert!(text.starts_with("its content has the checksum ") && text.ends_with("it has been changed since"), "{text}");
    Ok(())
}

/// A short file would otherwise claim much memory.
#[test]
fn entries_do_not_share_data() {
    let entry = |name: usize| format!(r#""{name}":{{"dtype":"U64","shape":[128],"data_offsets":[0,1024]}}"#);
    let entries: Vec<_> = (0..1000).map(entry).collect();
    let header = format!("{{{}}}", entries.join(","));
    let error = refused(&[&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 1024]].concat());
    assert!(matches!(&error, CheckpointError::Header { message } if message.contains("offset")), "{error}");
}

#[cfg(unix)]
mod on_disk {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use metrics_core::Tracker;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    /// Both kinds of file that this crate writes.
    fn save_both(path: &Path) -> Result<()> {
        some().save(path)?;
        Tracker::new().save(path)
    }

    #[test]
    fn permissions_stay() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, plain) = (folder.path().join("checkpoint"), folder.path().join("plain"));
        File::create(&plain).expect("a file");
        save_both(&path)?;
        assert_eq!(mode(&path), mode(&plain), "a new file is as any");
        for wanted in [0o600, 0o640, 0o666, 0o700] {
            fs::set_permissions(&path, Permissions::from_mode(wanted)).expect("a mode");
            some().save(&path)?;
            assert_eq!(mode(&path), wanted);
            Tracker::new().save(&path)?;
            assert_eq!(mode(&path), wanted);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
        Ok(())
    }

    #[test]
    fn a_link_stays_one() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("below")).expect("a folder");
        let [link, second, file] = ["link", "second", "below/file"].map(|name| folder.path().join(name));
        symlink("second", &link).expect("a link");
        symlink("below/file", &second).expect("a link");
        for _ in 0..2 {
            // First there is no such file.
            some().save(&link)?;
            assert!(link.is_symlink() && second.is_symlink() && !file.is_symlink());
            assert_eq!(Checkpoint::load(&file)?, content(&some()));
        }
        symlink("endless", folder.path().join("endless")).expect("a link");
        let error = some().save(folder.path().join("endless")).unwrap_err().to_string();
        assert!(error.contains("cannot write it: it is a link to a link"), "{error}");
        Ok(())
    }

    #[test]
    fn what_is_no_file_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let [socket, below] = ["socket", "below"].map(|name| folder.path().join(name));
        let _listener = UnixListener::bind(&socket).expect("a socket");
        fs::create_dir(&below).expect("a folder");
        for (path, problem) in [(&socket, "it is not a regular file"), (&below, "it is a folder")] {
            let error = save_both(path).unwrap_err().to_string();
            assert_eq!(error, format!("checkpoint `{}`: cannot write it: {problem}", path.display()));
        }
        assert!(below.is_dir() && !socket.is_file() && socket.exists());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}

#[test]
fn members_must_be_the_same() -> Result<()> {
    let path = Path::new("/nowhere/at/all.safetensors");
    let error = empty().load(path).unwrap_err().to_string();
    assert!(error.starts_with("checkpoint `/nowhere/at/all.safetensors`: cannot read it: "), "{error}");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics.safetensors");
    some().save(&path)?;
    let mut other = empty().prefix("val/");
    let error = other.load(&path).unwrap_err();
    let Error::Checkpoint { name, error: CheckpointError::Configuration { found, expected } } = &error else {
        panic!("{error}")
    };
    assert_eq!(*name, format!("checkpoint `{}`", path.display()));
    assert!(found.starts_with("collection[mean/50% of it.mae.reduction=\"mean\" "), "{found}");
    assert!(expected.starts_with("collection[val/mean/50% of it.mae.reduction=\"mean\" "), "{expected}");
    Ok(())
}

proptest! {
    #[test]
    fn changed_files_are_refused_or_equal(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        in_header in any::<bool>(),
    ) {
        let mut bytes = some().to_bytes().expect("bytes");
        let header = usize::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        let range = if in_header { 8 + header } else { bytes.len() };
        for (index, byte) in changes {
            bytes[index.index(range)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut metrics = updated(&[&[1.0]]).expect("a batch that fits");
        let before = content(&metrics);
        match metrics.load_bytes(&bytes) {
            Ok(()) => prop_assert_eq!(content(&metrics), content(&some())),
            Err(_) => prop_assert_eq!(content(&metrics), before),
        }
    }

    #[test]
    fn any_bytes_are_refused(
        header in "(\\{\"[a-z]{1,3}\":\\{\"dtype\":\"U64\",\"shape\":\\[[0-9]{1,20}\\],\"data_offsets\":\\[[0-9]{1,20},[0-9]{1,20}\\]\\}\\})|.{0,40}",
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let length = (header.len() as u64).to_le_bytes();
        let error = refused(&[&length, header.as_bytes(), &data].concat());
        prop_assert!(!error.to_string().is_empty());
    }
}

/// Set in the child process that saves until it is killed.
const CHILD: &str = "METRICS_CORE_TEST_SAVES_TO";

/// Alone, this does nothing: the test below runs it in a process of its own.
#[test]
fn child_that_saves_until_it_is_killed() -> Result<()> {
    let Some(path) = std::env::var_os(CHILD) else { return Ok(()) };
    let states = [some(), updated(&[&[1.0]])?];
    loop {
        states.iter().try_for_each(|metrics| metrics.save(&path))?;
    }
}

#[test]
fn a_killed_process_leaves_a_whole_file() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics.safetensors");
    let states = [content(&some()), content(&updated(&[&[1.0]])?)];
    for delay in 0..12 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "checkpoint::child_that_saves_until_it_is_killed"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("this program runs");
        // Not before it has saved once, but no longer than a test may take.
        let started = Instant::now();
        while !path.exists() && started.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(700 * delay));
        child.kill().expect("it runs");
        child.wait().expect("it has ended");

        let mut loaded = empty();
        loaded.load(&path)?;
        assert!(states.contains(&content(&loaded)));
        std::fs::remove_file(&path).expect("the file");
    }
    Ok(())
}
