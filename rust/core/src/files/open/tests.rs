use std::fs;
use std::io::ErrorKind;

use tempfile::TempDir;

use super::*;

#[test]
fn folders_are_made_below_the_state_dir_alone() {
    let folder = TempDir::new().expect("a temporary folder");
    let dir = StateDir::new(folder.path().join("agent"));
    let open = || open_or_make(&dir, &dir.common_transcript(), options().write(true).create(true));
    let error = open().expect_err("there is no state dir");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!dir.path().exists());

    fs::create_dir(dir.path()).expect("can be made");
    open().expect("its folders are made");
    assert!(dir.common_transcript().is_file());
    open().expect("they are there");
}
