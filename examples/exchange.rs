//! The whole thing in one command: a server in a process of its own, clients in others, and a
//! real socket between them.
//!
//! ```text
//! cargo run --example exchange
//! ```
//!
//! Without arguments it is the stage on which the others appear; they are this same program.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id as process};
use std::time::{Duration, Instant};

use simple_ipc::blocking::{Client, Server};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => stage(),
        ["serve", path] => serve(path.as_ref()),
        ["ask", path, question] => ask(path.as_ref(), question),
        ["measure", path] => measure(path.as_ref()),
        _ => Err("call it without arguments".into()),
    }
}

/// The server: tells everybody who they are and what they said, until it is told to stop.
fn serve(path: &Path) -> Outcome {
    let running = Server::bind(path)?
        // If the stage dies, so does the server.
        .idle_exit(Duration::from_secs(10))
        .serve(|request, reply| match &*request {
            b"stop" => reply.finish_and_stop(),
            question => {
                let greeting = format!("server {} heard: ", process());
                reply.finish_with([greeting.as_bytes(), question].concat())
            }
        })?;
    println!("server {}: listens on {}", process(), path.display());
    running.join()?;
    Ok(())
}

/// A client: asks one question.
fn ask(path: &Path, question: &str) -> Outcome {
    let began = Instant::now();
    let answer = Client::new(path).call(question)?;
    let took = began.elapsed();
    let answer = String::from_utf8_lossy(&answer);
    println!("client {}: asked {question:?}, got {answer:?} in {} µs", process(), took.as_micros());
    Ok(())
}

/// A client that asks again and again.
fn measure(path: &Path) -> Outcome {
    let client = Client::new(path);
    let mut times = Vec::new();
    for _ in 0..1000 {
        let began = Instant::now();
        client.call("ping")?;
        times.push(began.elapsed().as_micros());
    }
    times.sort();
    let (half, worst) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!(
        "client {}: asked {} times, each on a new connection: half of the answers took up to \
         {half} µs, 99 of 100 up to {worst} µs",
        process(),
        times.len(),
    );
    Ok(())
}

/// Starts the server and the clients, and sees that nothing is left.
fn stage() -> Outcome {
    let folder = Folder::new()?;
    let path = folder.0.join("exchange.ipc");

    let mut server = Player(play(&["serve".as_ref(), &path]).stdout(Stdio::piped()).spawn()?);
    // It says so when it is ready.
    let mut ready = String::new();
    BufReader::new(server.0.stdout.take().expect("piped")).read_line(&mut ready)?;
    print!("{ready}");

    let questions = ["good morning", "what is new?", "good night"];
    let clients: Vec<_> = questions
        .iter()
        .map(|question| play(&["ask".as_ref(), &path, question.as_ref()]).spawn().map(Player))
        .collect::<io::Result<_>>()?;
    clients.into_iter().try_for_each(Player::ends_well)?;
    Player(play(&["measure".as_ref(), &path]).spawn()?).ends_well()?;
    Player(play(&["ask".as_ref(), &path, "stop".as_ref()]).spawn()?).ends_well()?;

    let pid = server.0.id();
    server.ends_well()?;
    if path.try_exists()? {
        return Err(format!("{} is still there", path.display()).into());
    }
    println!("server {pid}: has stopped, and its path is gone");
    io::stdout().flush()?;
    Ok(())
}

/// This program again, in another part.
fn play(part: &[&Path]) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program runs"));
    command.args(part);
    command
}

/// A process that does not outlive the stage.
struct Player(Child);

impl Player {
    fn ends_well(mut self) -> Outcome {
        let status = self.0.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("process {} failed: {status}", self.0.id()).into())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Does nothing to one that has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder for this user only, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("simple-ipc-exchange-{}", process()));
        create_private(&folder)?;
        Ok(Self(folder))
    }
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    fs::DirBuilder::new().mode(0o700).create(folder)
}

/// Where the folder for temporary files is this user's.
#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}
