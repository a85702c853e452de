//! Names of Windows pipes, on every system: they are made from paths without asking anybody.

use simple_ipc::pipe_name::{MAX_LEN, PREFIX, PipeName, PipeNameError};

fn name(path: &str) -> Result<String, PipeNameError> {
    let units: Vec<u16> = path.encode_utf16().collect();
    PipeName::of(&units).map(|name| name.to_string())
}

#[test]
fn as_git_makes_them() {
    for (path, expected) in [
        // What git's own fsmonitor daemon listens on.
        (
            "C:/work/repo/.git/fsmonitor--daemon.ipc",
            r"\\.\pipe\C_\work\repo\.git\fsmonitor--daemon.ipc",
        ),
        (r"C:\work\app.ipc", r"\\.\pipe\C_\work\app.ipc"),
        // Case stays as it is; Windows does not look at it.
        ("z:/Work/App.IPC", r"\\.\pipe\z_\Work\App.IPC"),
        // Only the drive's own colon changes.
        ("C:/a:b/c:", r"\\.\pipe\C_\a:b\c:"),
        // A share keeps both of its slashes.
        ("//server/share/app.ipc", r"\\.\pipe\\\server\share\app.ipc"),
        (r"\\server\share\app.ipc", r"\\.\pipe\\\server\share\app.ipc"),
        // As the system writes what it has resolved.
        (r"\\?\C:\work\app.ipc", r"\\.\pipe\C_\work\app.ipc"),
        (r"\\?\UNC\server\share\app.ipc", r"\\.\pipe\\\server\share\app.ipc"),
        // Not a drive: nothing to strip, nothing to change but slashes.
        ("/unix/app.ipc", r"\\.\pipe\\unix\app.ipc"),
        ("/:/app.ipc", r"\\.\pipe\\:\app.ipc"),
        ("C:/日本/ä.ipc", r"\\.\pipe\C_\日本\ä.ipc"),
    ] {
        assert_eq!(name(path).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn paths_that_are_not_absolute_have_none() {
    for path in ["", "app.ipc", "a/b", "C:", "C:app.ipc", "1:/a", "é:/a", "..", ":/"] {
        assert_eq!(name(path), Err(PipeNameError::NotAbsolute), "{path:?}");
    }
}

#[test]
fn a_zero_is_refused_wherever_it_stands() {
    let path = "C:/work/app.ipc";
    for at in 3..path.len() {
        let mut with_zero = path.to_owned();
        with_zero.replace_range(at..=at, "\0");
        assert_eq!(name(&with_zero), Err(PipeNameError::Nul), "{with_zero:?}");
    }
}

#[test]
fn the_longest_name_fits_with_its_zero_and_one_more_does_not() {
    for (root, lost) in [("C:/", 0), (r"\\?\C:\", 4), (r"\\?\UNC\s\h\", 6), ("//s/h/", 0)] {
        let longest = MAX_LEN - PREFIX.len() + lost;
        let path = format!("{root}{}", "x".repeat(longest - root.len()));
        let units: Vec<u16> = path.encode_utf16().collect();
        let fits = PipeName::of(&units).unwrap();
        assert_eq!(fits.units().len(), MAX_LEN, "{root}");
        assert_eq!(fits.units_with_nul().len(), MAX_LEN + 1);
        assert_eq!(fits.units_with_nul().last(), Some(&0));
        assert_eq!(name(&format!("{path}x")), Err(PipeNameError::TooLong), "{root}");
    }
}

/// A naive reference: the rules as string replacements.
fn naive(path: &str) -> String {
    let path = match path.strip_prefix(r"\\?\UNC\") {
        Some(share) => format!(r"\\{share}"),
        None => path.strip_prefix(r"\\?\").unwrap_or(path).to_owned(),
    };
    let mut path = path.replace('/', r"\");
    if path.get(1..3) == Some(r":\") && path.starts_with(|c: char| c.is_ascii_alphabetic()) {
        path.replace_range(1..2, "_");
    }
    format!("{PREFIX}{path}")
}

/// Every path of up to five characters from those that matter, behind every kind of root.
#[test]
fn all_short_paths_agree_with_the_naive_reference() {
    let alphabet = ['a', ':', '/', '\\', '_', 'ß'];
    for root in ["C:/", r"D:\", "//", r"\\?\E:\", r"\\?\UNC\", "/"] {
        let mut rests = vec![String::new()];
        for len in 0..=4 {
            for rest in &rests {
                let path = format!("{root}{rest}");
                assert_eq!(name(&path).unwrap(), naive(&path), "{path:?}");
            }
            if len < 4 {
                rests = rests
                    .iter()
                    .flat_map(|rest| alphabet.map(|next| format!("{rest}{next}")))
                    .collect();
            }
        }
    }
}

#[test]
fn arbitrary_units_never_panic() {
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let len = (next() % 300) as usize;
        let alphabet: Vec<u16> = r"\?UNC:/a".encode_utf16().chain([0, 0xd800, 0xffff]).collect();
        let units: Vec<u16> =
            (0..len).map(|_| alphabet[next() as usize % alphabet.len()]).collect();
        if let Ok(name) = PipeName::of(&units) {
            assert!(name.units().len() <= MAX_LEN && !name.units().contains(&0));
            let _ = name.to_string();
        }
    }
}
