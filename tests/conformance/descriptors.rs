//! Nothing is left open, whatever goes wrong, however often. Each of these is alone in its
//! process.

use std::fs;
use std::time::Duration;

use crate::app::App;
use crate::bounds::eventually;
use crate::seam::{
    Answer, Client, ClientSettings, Connection, RequestWriter, Running, Served, Server,
    ServerSettings, StreamingServer, Writer,
};
use crate::wire::pattern;

fn open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Does it once, for what stays (a runtime's threads), then very often.
fn repeat(mut once: impl FnMut()) {
    (0..3).for_each(|_| once());
    let before = open();
    (0..200).for_each(|_| once());
    eventually("as few descriptors as before", || open() <= before);
}

pub fn exchanges_that_go_wrong<S: Server, C: Client>() {
    let settings = ServerSettings { request_limit: Some(1000), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let impatient = ClientSettings { wait: Some(Duration::from_millis(1)), ..Default::default() };
    let client: C = served.client();
    let impatient: C = served.client_with(impatient);
    let missing = C::new(&served.path().join("x"), Default::default());
    served.app.open("now");
    repeat(|| {
        assert_eq!(client.call(b"ping").unwrap(), b"pong");
        client.call(b"do fail").unwrap_err();
        client.call(b"do write a; flush; drop now").unwrap_err();
        client.call(&pattern(1001)).unwrap_err();
        missing.call(b"ping").unwrap_err();
        drop(client.connect().unwrap());
        let mut request = client.connect().unwrap().request();
        request.write(b"pi").unwrap();
        request.flush().unwrap();
        drop(request);
        let mut answer = client.connect().unwrap().send(b"do bytes 1000000").unwrap();
        answer.expect(&pattern(10));
        drop(answer);
        // Either may come first.
        let _ = impatient.call(b"do write a");
    });
    repeat(|| {
        client.call(b"do panic").unwrap_err();
    });
    served.end_after_errors();
}

pub fn servers_that_come_and_go<S: StreamingServer, C: Client>() {
    repeat(|| {
        let served = Served::<S>::streaming(App::script("echo"), ServerSettings::default());
        let (mut request, mut answer) = served.client::<C>().connect().unwrap().request().split();
        request.write(b"abc").unwrap();
        request.flush().unwrap();
        answer.expect(b"abc");
        let silent = served.client::<C>().connect().unwrap();
        served.running.stop();
        drop((request, answer, silent));
        served.running.join().unwrap();
    });
}
