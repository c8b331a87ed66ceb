use std::fs;
use std::io::ErrorKind;

use tempfile::TempDir;

use super::*;

#[test]
fn folders_are_created_only_in_the_state_directory() {
    let folder = TempDir::new().expect("a temporary folder");
    let dir = StateDir::new(folder.path().join("agent"));
    let open = || open_or_create(&dir, &dir.common_transcript(), options().write(true).create(true));
    let error = open().expect_err("there is no state directory");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!dir.path().exists());

    fs::create_dir(dir.path()).expect("can be created");
    open().expect("its folders are created");
    assert!(dir.common_transcript().is_file());
    open().expect("they exist");
}
