//! `HOSTUP_FUZZ_TARGET=list hostup-fuzz ...`: libFuzzer's arguments, or without it the files to run.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::sync::LazyLock;

use hostup_fuzz::Target;

/// libFuzzer has the arguments for itself.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var_os("HOSTUP_FUZZ_TARGET").unwrap_or_default();
    hostup_fuzz::target(&name.to_string_lossy()).expect("HOSTUP_FUZZ_TARGET names a target")
});

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|input: &[u8]| hostup_fuzz::run(*TARGET, input));

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        println!("{}", file.display());
        hostup_fuzz::run(*TARGET, &std::fs::read(file)?);
    }
    Ok(())
}
