//! A tree of files in which random things happen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::processes::Folder;
use crate::random::Random;

pub struct Tree {
    pub folder: Folder,
    pub root: PathBuf,
    pub random: Random,
    made: u32,
    /// A folder of the tree that was moved out of it.
    away: Option<PathBuf>,
}

/// What is there, by path: relative, with slashes.
#[derive(Debug)]
pub struct Snapshot(BTreeMap<Vec<u8>, Vec<u8>>);

impl Snapshot {
    /// The paths at which something else is there than in `other`.
    pub fn changed<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s [u8]> {
        let gone = self.0.keys().filter(|path| !other.0.contains_key(*path));
        let new = other.0.iter().filter(|(path, is)| self.0.get(*path) != Some(*is));
        gone.chain(new.map(|(path, _)| path)).map(Vec::as_slice)
    }
}

impl Tree {
    pub fn new(seed: u64) -> Self {
        let tree = Self::without_git(seed);
        fs::create_dir(tree.root.join(".git")).unwrap();
        tree
    }

    /// With a git folder elsewhere, named relative to the tree.
    pub fn with_git_folder(seed: u64, git: &Path) -> Self {
        let tree = Self::without_git(seed);
        fs::create_dir_all(tree.root.join(git)).unwrap();
        fs::write(tree.root.join(".git"), format!("gitdir: {}\n", git.display())).unwrap();
        tree
    }

    pub fn without_git(seed: u64) -> Self {
        let folder = Folder::new();
        let root = folder.0.join("work tree");
        for folder in ["a", "a/b", "a/b/c", "d", "d e"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            for file in ["1", "2", "3"] {
                fs::write(root.join(folder).join(file), format!("{folder}/{file}\n")).unwrap();
            }
        }
        Self { folder, root, random: Random(seed), made: 0, away: None }
    }

    /// All that is in it, but for git's own.
    pub fn snapshot(&self) -> Snapshot {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(".git") {
                    continue;
                }
                let relative = path.strip_prefix(&self.root).unwrap();
                let is = fs::symlink_metadata(&path).unwrap();
                let what = if is.is_dir() {
                    folders.push(path.clone());
                    b"a folder".to_vec()
                } else if is.is_symlink() {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                } else {
                    let mut what = fs::read(&path).unwrap();
                    what.push(u8::from(is_executable(&is)));
                    what
                };
                let name = relative.to_str().expect("all names are ours").replace('\\', "/");
                found.insert(name.into_bytes(), what);
            }
        }
        Snapshot(found)
    }

    /// All files (and links), or all folders.
    fn list(&self, folders: bool) -> Vec<PathBuf> {
        let all = self.snapshot().0.into_keys();
        let all = all.map(|path| self.root.join(String::from_utf8(path).unwrap()));
        let is_folder = |path: &PathBuf| fs::symlink_metadata(path).unwrap().is_dir();
        all.filter(|path| is_folder(path) == folders).collect()
    }

    fn pick(&mut self, folders: bool) -> Option<PathBuf> {
        let mut found = self.list(folders);
        let nth = self.random.below(found.len().max(1));
        (nth < found.len()).then(|| found.swap_remove(nth))
    }

    /// Any folder of it.
    pub fn any_folder(&mut self) -> PathBuf {
        self.pick(true).unwrap_or_else(|| self.root.clone())
    }

    pub fn fresh_name(&mut self) -> String {
        self.made += 1;
        format!("new {}", self.made)
    }

    /// Makes one to four changes, and tells which.
    pub fn some_changes(&mut self) -> Vec<String> {
        (0..=self.random.below(4)).map(|_| self.change()).collect()
    }

    /// Makes one random change, and tells which.
    pub fn change(&mut self) -> String {
        if let Some(grown) = self.overgrown() {
            fs::remove_dir_all(&grown).unwrap();
            return format!("cut {}", grown.display());
        }
        let fresh = self.fresh_name();
        let (Some(file), Some(folder)) = (self.pick(false), self.pick(true)) else {
            let deep = self.root.join(fresh).join("x");
            fs::create_dir_all(&deep).unwrap();
            put(&deep.join("first"), "first");
            return format!("make {} and a file in it", deep.display());
        };
        match self.random.below(14) {
            0 | 1 => {
                put(&file, &format!("{}\n", self.random.below(1000)));
                format!("write {}", file.display())
            }
            2 => {
                fs::remove_file(&file).unwrap();
                format!("remove {}", file.display())
            }
            3 => {
                let to = folder.join(&fresh);
                fs::rename(&file, &to).unwrap();
                format!("rename {} to {}", file.display(), to.display())
            }
            4 => {
                // Files that are there before anybody can watch the folders they are in.
                let deep = folder.join(&fresh).join("x/y");
                fs::create_dir_all(&deep).unwrap();
                put(&deep.join("deep"), "deep");
                put(&deep.join("../shallow"), "shallow");
                format!("make {}", deep.display())
            }
            5 => {
                let to = folder.parent().unwrap().join(&fresh);
                fs::rename(&folder, &to).unwrap();
                // What happens under the new name belongs there.
                put(&to.join("after"), "after the rename");
                format!("rename folder {} to {}", folder.display(), to.display())
            }
            6 => {
                fs::remove_dir_all(&folder).unwrap();
                format!("remove folder {}", folder.display())
            }
            7 => {
                fs::remove_dir_all(&folder).unwrap();
                fs::create_dir(&folder).unwrap();
                put(&folder.join("again"), "again");
                format!("replace folder {}", folder.display())
            }
            8 => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
                put(&file.join("inside"), "a folder where a file was");
                format!("folder in the place of {}", file.display())
            }
            9 => {
                let other = self.pick(false).expect("there is one");
                if other != file {
                    fs::rename(&file, &other).unwrap();
                }
                format!("rename {} over {}", file.display(), other.display())
            }
            10 => self.exchange(folder, &fresh),
            11 => self.move_out_or_in(folder, &fresh),
            12 => {
                make_executable(&file);
                format!("chmod +x {}", file.display())
            }
            _ => {
                let link = folder.join(&fresh);
                link_to_folder(&link);
                format!("link {}", link.display())
            }
        }
    }

    /// The largest folder, if there is too much for a step to be quick, or a path too long.
    fn overgrown(&self) -> Option<PathBuf> {
        let all = self.snapshot().0;
        if all.len() < 200 && all.keys().all(|path| path.len() < 200) {
            return None;
        }
        let mut sizes = BTreeMap::new();
        for path in all.keys() {
            if let Some(slash) = path.iter().position(|byte| *byte == b'/') {
                *sizes.entry(&path[..slash]).or_insert(0) += path.len();
            }
        }
        let (largest, _) = sizes.into_iter().max_by_key(|(_, size)| *size)?;
        Some(self.root.join(std::str::from_utf8(largest).unwrap()))
    }

    /// Two folders take each other's name.
    fn exchange(&mut self, folder: PathBuf, fresh: &str) -> String {
        let other = self.pick(true).expect("there is one");
        if folder.starts_with(&other) || other.starts_with(&folder) {
            return "nothing".into();
        }
        let between = self.root.join(fresh);
        fs::rename(&folder, &between).unwrap();
        fs::rename(&other, &folder).unwrap();
        fs::rename(&between, &other).unwrap();
        put(&folder.join("exchanged"), fresh);
        put(&other.join("exchanged"), fresh);
        format!("exchange {} and {}", folder.display(), other.display())
    }

    /// What happens to a folder outside is nobody's business, until it comes back.
    fn move_out_or_in(&mut self, folder: PathBuf, fresh: &str) -> String {
        match self.away.take() {
            None => {
                let outside = self.folder.0.join(fresh);
                fs::rename(&folder, &outside).unwrap();
                put(&outside.join("outside"), "outside");
                self.away = Some(outside);
                format!("move {} out", folder.display())
            }
            Some(outside) => {
                let inside = folder.join(fresh);
                fs::rename(outside, &inside).unwrap();
                put(&inside.join("back"), "back");
                format!("move {} in", inside.display())
            }
        }
    }
}

/// A file with that text, whatever was there.
pub fn put(file: &Path, text: &str) {
    match fs::symlink_metadata(file) {
        Ok(is) if is.is_dir() => fs::remove_dir_all(file).unwrap(),
        Ok(is) if is.is_symlink() => fs::remove_file(file).unwrap(),
        _ => {}
    }
    fs::write(file, text).unwrap();
}

#[cfg(unix)]
fn is_executable(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    file.permissions().mode() & 0o100 != 0
}

#[cfg(unix)]
fn make_executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    // Of a link, what it points to is a folder.
    if !file.is_symlink() {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[cfg(unix)]
fn link_to_folder(link: &Path) {
    std::os::unix::fs::symlink(".", link).unwrap();
}

#[cfg(windows)]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

#[cfg(windows)]
fn make_executable(_: &Path) {}

/// Not every user may make links.
#[cfg(windows)]
fn link_to_folder(link: &Path) {
    fs::write(link, "no link").unwrap();
}
