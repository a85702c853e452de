//! One adapter for each runtime, as thin as can be. What all of them do is written here once;
//! an adapter adds how its runtime waits.

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(unix)]
pub mod event_loop;
pub mod raw;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(feature = "tokio")]
pub mod tokio;

/// The client of the runtime `$runtime`; `$now` is the function that waits for what its calls
/// return, `$inside` the one that makes a call inside the runtime.
macro_rules! client {
    ($runtime:ident, $now:path, $inside:path) => {
        use simple_ipc::exchange::Done;
        use simple_ipc::$runtime as runtime;

        use crate::seam::{self, ClientSettings, Failure};

        #[derive(Clone)]
        pub struct Client(runtime::Client);

        impl seam::Client for Client {
            type Connection = runtime::Connection;

            fn new(path: &std::path::Path, settings: ClientSettings) -> Self {
                let mut client = runtime::Client::new(path);
                if let Some(limit) = settings.wait_if_busy {
                    client = client.wait_if_busy(limit);
                }
                if let Some(limit) = settings.wait_if_not_found {
                    client = client.wait_if_not_found(limit);
                }
                if let Some(limit) = settings.send {
                    client = client.send_deadline(limit);
                }
                if let Some(limit) = settings.wait {
                    client = client.wait_deadline(limit);
                }
                if let Some(limit) = settings.receive {
                    client = client.receive_deadline(limit);
                }
                if let Some(limit) = settings.total {
                    client = client.total_deadline(limit);
                }
                if let Some(limit) = settings.answer_limit {
                    client = client.answer_limit(limit);
                }
                Self(client)
            }

            fn call(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
                Ok($now(self.0.call(request))?)
            }

            fn call_into(&self, request: &[u8], answer: &mut Vec<u8>) -> Result<(), Failure> {
                Ok($now(self.0.call_into(request, answer))?)
            }

            fn connect(&self) -> Result<Self::Connection, Failure> {
                Ok($now(self.0.connect())?)
            }
        }

        impl seam::Connection for runtime::Connection {
            type Request = runtime::RequestWriter;
            type Answer = runtime::Answer;

            fn send(self, request: &[u8]) -> Result<Self::Answer, Failure> {
                Ok($now(self.send(request))?)
            }

            fn request(self) -> Self::Request {
                self.request()
            }
        }

        impl<N: Send + Unpin + 'static> seam::Writer for runtime::RequestWriter<N> {
            fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
                Ok($now(self.write_all(bytes))?)
            }

            fn flush(&mut self) -> Result<(), Failure> {
                Ok($now(self.flush())?)
            }
        }

        impl seam::RequestWriter for runtime::RequestWriter {
            type Rest = runtime::RequestWriter<Done>;
            type Answer = runtime::Answer;

            fn finish(self) -> Result<Self::Answer, Failure> {
                Ok($now(self.finish())?)
            }

            fn split(self) -> (Self::Rest, Self::Answer) {
                $inside(|| self.split()).unwrap()
            }
        }

        impl seam::Rest for runtime::RequestWriter<Done> {
            fn finish(self) -> Result<(), Failure> {
                Ok($now(self.finish())?)
            }
        }

        impl seam::Answer for runtime::Answer {
            fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
                Ok($now(Read::read(self, buffer))?)
            }

            fn read_all(self) -> Result<Vec<u8>, Failure> {
                Ok($now(self.read_all())?)
            }
        }
    };
}

/// The server's settings, as its setters.
macro_rules! set {
    ($server:expr, $settings:expr, $reports:expr) => {{
        let (mut server, settings, reports) = ($server, $settings, $reports);
        server = server.on_error(move |error| reports.add(error));
        if let Some(limit) = settings.exchanges {
            server = server.exchanges(limit);
        }
        if let Some(limit) = settings.request_limit {
            server = server.request_limit(limit);
        }
        if let Some(limit) = settings.send {
            server = server.send_deadline(limit);
        }
        if let Some(limit) = settings.receive {
            server = server.receive_deadline(limit);
        }
        if let Some(limit) = settings.waiting {
            server = server.waiting(limit);
        }
        if let Some(limit) = settings.silence {
            server = server.silence_deadline(limit);
        }
        if let Some(limit) = settings.idle_exit {
            server = server.idle_exit(limit);
        }
        if let Some(limit) = settings.drain {
            server = server.drain_deadline(limit);
        }
        server
    }};
}

/// What a handler does: performs the steps that the application decided on. `$pause` waits at a
/// gate, `Read` is the runtime's trait.
macro_rules! perform {
    ([$($async:ident)?], [$($await:tt)*], $pause:path) => {
        $($async)? fn perform(
            app: App,
            steps: Vec<Step>,
            mut request: Option<runtime::RequestReader>,
            mut reply: runtime::Reply,
        ) -> Result<runtime::Finished, Box<dyn std::error::Error + Send + Sync>> {
            let _inside = app.enter();
            for step in steps {
                match step {
                    Step::Write(bytes) => reply.write_all(&bytes)$($await)*?,
                    Step::Flush => reply.flush()$($await)*?,
                    Step::Open(gate) => gate.open(),
                    Step::Wait(gate) => $pause(&gate)$($await)*,
                    Step::TellWhetherLeft => {
                        app.tell(if reply.client_has_left() { "left" } else { "there" });
                    }
                    Step::Read(n) => {
                        let reader = request.as_mut().expect("a streaming handler");
                        let mut part = vec![0; n];
                        let mut read = 0;
                        while read < n {
                            match Read::read(reader, &mut part[read..])$($await)*? {
                                0 => break,
                                some => read += some,
                            }
                        }
                        app.tell(&part[..read]);
                    }
                    Step::ReadAll => {
                        let reader = request.take().expect("a streaming handler");
                        let request = reader.read_all()$($await)*?;
                        reply.write_all(request.len().to_string().as_bytes())$($await)*?;
                    }
                    Step::Echo => {
                        let reader = request.as_mut().expect("a streaming handler");
                        let mut part = vec![0; 32768];
                        loop {
                            let n = Read::read(reader, &mut part)$($await)*?;
                            if n == 0 {
                                break;
                            }
                            reply.write_all(&part[..n])$($await)*?;
                            reply.flush()$($await)*?;
                        }
                    }
                    Step::DropRequest => drop(request.take()),
                    Step::Fail => return Err("the handler failed on purpose".into()),
                    Step::Panic => panic!("the handler panicked on purpose"),
                    Step::DropReply(gate) => {
                        drop(reply);
                        $pause(&gate)$($await)*;
                        return Err("the handler dropped its reply".into());
                    }
                    Step::KeepReply(gate) => {
                        app.keep(reply);
                        $pause(&gate)$($await)*;
                        return Err("the handler gave its reply away".into());
                    }
                    Step::Finish => return Ok(reply.finish()$($await)*?),
                    Step::FinishWith(bytes) => return Ok(reply.finish_with(bytes)$($await)*?),
                    Step::FinishAndStop => return Ok(reply.finish_and_stop()$($await)*?),
                }
            }
            unreachable!("the last step finishes");
        }
    };
}

#[allow(unused_imports, reason = "each runtime uses what it needs")]
use {client, perform, set};
