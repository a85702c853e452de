//! The subcommands that ask a server.

use std::error::Error;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use simple_ipc::endpoint::{State, state};

use crate::options::Options;
use crate::report;
use crate::runtime::Call;

/// Succeeds if a server is there.
pub fn is_active(options: &Options) -> Result<(), Box<dyn Error>> {
    match state(&options.name) {
        State::Listening => Ok(()),
        state => Err(format!("{}: {state}", options.name.display()).into()),
    }
}

/// Sends the token and prints the answer, if there is any.
pub fn send(options: &Options) -> Result<(), Box<dyn Error>> {
    let token = if options.token.is_empty() { "(no-command)" } else { &options.token };
    let mut answer = (options.runtime.client)(&options.name)?(token.as_bytes())?;
    if !answer.is_empty() {
        answer.push(b'\n');
        io::stdout().write_all(&answer)?;
    }
    Ok(())
}

/// Sends many times the letter and prints what the server counted.
pub fn sendbytes(options: &Options) -> Result<(), Box<dyn Error>> {
    send_ballast(&(options.runtime.client)(&options.name)?, options.byte, options.bytecount)
}

/// Does so from many threads, many times each, and prints how that went.
pub fn multiple(options: &Options) -> Result<(), Box<dyn Error>> {
    let call = &(options.runtime.client)(&options.name)?;
    // A batch gives the number of its exchanges that went wrong.
    let batch = |number: usize| {
        let letter = b'A' + (number % 26) as u8;
        // When the letters are used again, then with other lengths.
        let first = options.bytecount + options.batchsize * (number / 26);
        (first..first + options.batchsize)
            .filter_map(|length| send_ballast(call, letter, length).err())
            .inspect(|error| report(&**error))
            .count()
    };
    let batches: Vec<thread::Result<usize>> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..options.threads).map(|number| scope.spawn(move || batch(number))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let join = batches.iter().filter(|batch| batch.is_err()).count();
    let errors: usize = batches.iter().flatten().sum();
    let good = (options.threads - join) * options.batchsize - errors;
    writeln!(io::stdout(), "client (good {good}) (join {join}), (errors {errors})")?;
    match join + errors {
        0 => Ok(()),
        bad => Err(format!("{bad} of the exchanges or threads went wrong").into()),
    }
}

fn send_ballast(call: &Call, letter: u8, length: usize) -> Result<(), Box<dyn Error>> {
    let mut request = b"sendbytes ".to_vec();
    request.resize(request.len() + length, letter);
    let answer = call(&request)?;
    let mut line = b"sent:".to_vec();
    line.push(letter);
    line.extend(format!("{length:08} ").bytes());
    line.extend(answer.trim_ascii_end());
    line.push(b'\n');
    // In one piece, for other threads print too.
    Ok(io::stdout().write_all(&line)?)
}

/// Tells the server to quit and waits until it is no longer there.
pub fn stop_daemon(options: &Options) -> Result<(), Box<dyn Error>> {
    let since = Instant::now();
    (options.runtime.client)(&options.name)?(b"quit")?;
    // It has answered, and stops now; nothing but its absence tells when it has.
    while state(&options.name) == State::Listening {
        if since.elapsed() >= options.max_wait {
            return Err(
                format!("{}: the server has not stopped yet", options.name.display()).into()
            );
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
