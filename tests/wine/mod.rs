//! Whether the tests run under Wine, for what cannot be shown there.
#![allow(dead_code, reason = "each test that includes this uses another part of it")]

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs};

/// Whether this is Wine: only its `ntdll`, the one library that every program has, exports
/// `wine_get_version`. So no variable has to be set, and none can say it where it is not true.
pub static IS_WINE: LazyLock<bool> = LazyLock::new(|| {
    const EXPORT: &[u8] = b"wine_get_version\0";

    let Some(system) = env::var_os("SystemRoot") else { return false };
    let ntdll = fs::read(Path::new(&system).join(r"system32\ntdll.dll")).unwrap();
    ntdll.windows(EXPORT.len()).any(|bytes| bytes == EXPORT)
});

/// Why servers are not set upon one name at the same instant there: whoever is later looks who is
/// there, and is refused; but two that look at once find nobody.
pub const FIRST_INSTANCE: &str = "it lets two servers make the first instance of one pipe";

/// Whether the test `name` is to be skipped, for Wine does what Windows does not; says so.
#[must_use]
pub fn skips(name: &str, why: &str) -> bool {
    if *IS_WINE {
        // Not `eprintln!`, which nobody sees of a test that passes.
        let skipped = format!("{name}: SKIPPED under Wine: {why}\n");
        io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    *IS_WINE
}
