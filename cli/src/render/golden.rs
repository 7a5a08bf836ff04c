//! Comparison with the files in `src/render/golden/`; `UPDATE_EXPECT=1` rewrites them.

pub(crate) fn check(name: &str, actual: &str) {
    let path = package().join("src/render/golden").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run with UPDATE_EXPECT=1", path.display()));
    assert_eq!(
        actual, expected,
        "{name} differs; UPDATE_EXPECT=1 rewrites it"
    );
}

/// Where the package is now: whoever compiled this may have had it elsewhere.
fn package() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
