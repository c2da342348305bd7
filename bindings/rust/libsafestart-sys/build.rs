// SPDX-License-Identifier: LGPL-2.1-or-later
fn main() {
    let library = pkg_config::Config::new()
        .atleast_version("1.0.0")
        .probe("libsafestart")
        .expect("pkg-config does not find libsafestart: install it, or set PKG_CONFIG_PATH");
    // For the test that compares the declarations with the header.
    let header = library
        .include_paths
        .iter()
        .map(|folder| folder.join("safestart/safestart.h"))
        .find(|path| path.exists())
        .unwrap_or_else(|| "/usr/include/safestart/safestart.h".into());
    println!("cargo:rustc-env=SAFESTART_H={}", header.display());
}
