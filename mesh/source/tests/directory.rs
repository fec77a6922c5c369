//! A directory is taken whole or not at all, and watched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use signet_source::{FileSource, MAX_FILE_BYTES, MAX_FILES, Snapshot, Source, read_directory};
use tempfile::{TempDir, tempdir};

/// Longer than any machine needs; only a failing test waits so long.
const LONG: Duration = Duration::from_mins(1);

fn policy(name: &str) -> String {
    format!(
        "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ingress: []}}\n"
    )
}

fn bad(name: &str) -> String {
    policy(name).replace("ingress", "ingres")
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    let set = snapshot.set.as_ref().unwrap();
    set.policies()
        .iter()
        .map(|policy| policy.name.name.to_string())
        .collect()
}

/// Waits for a snapshot that is as wanted; those before it may be anything.
async fn wait_for(source: &mut FileSource, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let found = tokio::time::timeout(LONG, async {
        loop {
            let snapshot = source.changes().await.unwrap();
            if wanted(&snapshot) {
                return snapshot;
            }
        }
    });
    found.await.unwrap()
}

async fn wait_for_names(source: &mut FileSource, wanted: &[&str]) -> Arc<Snapshot> {
    wait_for(source, |snapshot| {
        snapshot.set.is_some() && names(snapshot) == wanted && snapshot.errors.is_empty()
    })
    .await
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn reading_errors(directory: &Path) -> Vec<String> {
    read_directory(directory).result.unwrap_err().lines()
}

#[test]
fn only_yaml_files_that_are_not_hidden_are_read() {
    let directory = directory(&[
        ("a.yaml", &policy("a")),
        ("b.yml", &policy("b")),
        ("c.txt", "{"),
        (".d.yaml", "{"),
        ("e.tmp", "{"),
    ]);
    fs::create_dir(directory.path().join("sub")).unwrap();
    let set = read_directory(directory.path()).result.unwrap();
    assert_eq!(set.policies().len(), 2);
}

#[test]
fn one_bad_file_spoils_the_whole_and_all_errors_are_said() {
    let directory = directory(&[
        ("a.yaml", &policy("a")),
        ("b.yaml", &bad("b")),
        ("c.yaml", &bad("c")),
    ]);
    let errors = reading_errors(directory.path());
    assert_eq!(errors.len(), 2);
    assert!(errors[0].contains("b.yaml:4:8: spec.ingres") && errors[1].contains("c.yaml:4:8: spec.ingres"));
}

#[test]
fn what_is_no_file_or_too_large_or_no_text_is_refused() {
    let directory = directory(&[]);
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("dir.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", path("link.yaml")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("pipe.yaml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::write(path("text.yaml"), [0xff, 0xfe]).unwrap();
    fs::File::create(path("vast.yaml"))
        .unwrap()
        .set_len(MAX_FILE_BYTES + 1)
        .unwrap();
    let errors = reading_errors(directory.path());
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert!(errors[0].ends_with("dir.yaml: is not a regular file"));
    assert!(errors[1].contains("link.yaml: cannot be read"));
    assert!(errors[2].ends_with("pipe.yaml: is not a regular file"));
    assert!(errors[3].contains("text.yaml: is not UTF-8"));
    assert!(errors[4].contains("vast.yaml: is larger than"));
}

#[test]
fn too_many_files_are_refused() {
    let directory = directory(&[]);
    for number in 0..=MAX_FILES {
        fs::write(directory.path().join(format!("{number}.yaml")), "").unwrap();
    }
    assert!(reading_errors(directory.path())[0].contains("has more than 4096 files"));
}

#[tokio::test]
async fn the_first_snapshot_comes_unasked_and_changes_follow() {
    let directory = directory(&[("a.yaml", &policy("a"))]);
    let mut source = FileSource::start(directory.path());
    wait_for_names(&mut source, &["a"]).await;
    fs::write(directory.path().join("b.yaml"), policy("b")).unwrap();
    wait_for_names(&mut source, &["a", "b"]).await;
    fs::write(directory.path().join("b.yaml"), policy("c")).unwrap();
    wait_for_names(&mut source, &["a", "c"]).await;
    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    wait_for_names(&mut source, &["c"]).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_shown_until_it_is_mended() {
    let directory = directory(&[("a.yaml", &policy("a"))]);
    let mut source = FileSource::start(directory.path());
    let good = wait_for_names(&mut source, &["a"]).await;
    fs::write(directory.path().join("a.yaml"), policy("z")).unwrap();
    fs::write(directory.path().join("b.yaml"), bad("b")).unwrap();
    let shown = wait_for(&mut source, |snapshot| !snapshot.errors.is_empty()).await;
    assert!(shown.errors.lines()[0].contains("b.yaml:4:8: spec.ingres: unknown field `ingres`"));
    // What was written before the bad file may have been seen or not; the bad file itself changes nothing.
    assert!(
        names(&shown) == names(&good) || names(&shown) == ["z"],
        "{shown:?}"
    );
    fs::remove_file(directory.path().join("b.yaml")).unwrap();
    wait_for_names(&mut source, &["z"]).await;
}

#[tokio::test]
async fn nothing_is_known_while_the_first_reading_is_bad() {
    let directory = directory(&[("a.yaml", &bad("a"))]);
    let mut source = FileSource::start(directory.path());
    let first = wait_for(&mut source, |_| true).await;
    assert!(first.set.is_none() && !first.errors.is_empty());
}

#[tokio::test]
async fn a_directory_that_comes_later_is_found_and_one_that_goes_keeps_the_last_good_set() {
    let parent = tempdir().unwrap();
    let path = parent.path().join("config");
    let mut source = FileSource::start(&path);
    let missing = wait_for(&mut source, |_| true).await;
    assert!(missing.errors.lines()[0].contains("create it, or pass another --config-dir"));
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), policy("a")).unwrap();
    wait_for_names(&mut source, &["a"]).await;
    fs::remove_dir_all(&path).unwrap();
    let gone = wait_for(&mut source, |snapshot| {
        snapshot
            .errors
            .lines()
            .iter()
            .any(|line| line.contains("create it"))
    })
    .await;
    assert!(gone.set.is_some());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("b.yaml"), policy("b")).unwrap();
    wait_for_names(&mut source, &["b"]).await;
}

/// A directory as the kubelet makes it: files are links through `..data` into a directory that is exchanged.
#[tokio::test]
async fn the_swap_of_a_mounted_config_map_is_seen_whole() {
    let mount = tempdir().unwrap();
    let path = |name: &str| mount.path().join(name);
    let version = |number: u32, suffix: &str| {
        let name = format!("..{number}");
        fs::create_dir(path(&name)).unwrap();
        for file in ["a", "b"] {
            fs::write(
                path(&name).join(format!("{file}.yaml")),
                policy(&format!("{file}{suffix}")),
            )
            .unwrap();
        }
        std::os::unix::fs::symlink(&name, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    version(1, "-old");
    for file in ["a.yaml", "b.yaml"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), path(file)).unwrap();
    }
    let mut source = FileSource::start(mount.path());
    wait_for_names(&mut source, &["a-old", "b-old"]).await;
    version(2, "-new");
    let next = tokio::time::timeout(LONG, source.changes())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(names(&next), ["a-new", "b-new"], "never a mixture");
}
